/** Held deletes: listed, and released by a proof of each, whatever the guard says. */
import { describe, expect, test } from 'vitest';
import { deletesList } from '../services/cli/commands/deletes-list.ts';
import { deletesRelease } from '../services/cli/commands/deletes-release.ts';
import { commandHere } from './command-here.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();
/** More than the guard allows. */
const GONE = 20;

async function held(
  settings: Record<string, string> = {},
  change?: (feed: Feed, username: string) => void,
): Promise<Feed> {
  const feed = await startFeed({ redis, settings: { DELETE_GUARD_COUNT: '5', ...settings } });
  feed.pool.fill(100);
  expect((await feed.sync()).code).toBe(0);
  for (const { username } of feed.poolRows().slice(0, GONE))
    if (change === undefined) feed.pool.delete(username);
    else change(feed, username);
  expect((await feed.sync()).code).toBe(3);
  expect(await feed.query('select from cognito_feed.held_deletes')).toHaveLength(GONE);
  return feed;
}

const stillHeld = async (feed: Feed) => (await feed.query('select from cognito_feed.held_deletes')).length;

describe('deletes', () => {
  test('list names pool, username, sub, since when and why; nothing where none is held', async () => {
    const feed = await held();
    const { code, stdout } = await commandHere(feed, deletesList);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(GONE + 1);
    expect(lines[0]).toMatch(/^POOL +USERNAME +SUB +HELD SINCE +REASON$/);
    expect(lines[1]).toMatch(
      /^\S+ +\S+ +[0-9a-f-]{36} +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ +more users missing than the delete guard allows$/,
    );
    await feed.query('delete from cognito_feed.held_deletes');
    expect(await commandHere(feed, deletesList)).toEqual({ code: 0, stdout: 'no deletes are held\n', stderr: '' });
  });

  test('release deletes who is proved gone, without a running deployment', async () => {
    const feed = await held();
    expect(await commandHere(feed, deletesRelease)).toMatchObject({
      code: 0,
      stdout: `${feed.pool.id}: ${GONE} deleted, 0 turned out to exist, 0 still held\n`,
    });
    await feed.expectMirrorEqualsPool();
    expect(feed.emulator.record.lookups).toHaveLength(GONE);
    expect((await feed.sync()).code).toBe(0);
  });

  test('Invariant 4: release deletes nobody who exists, whatever every list hides', async () => {
    const feed = await held({}, ({ emulator, pool }, username) => {
      const { missing } = emulator.faults.settings;
      emulator.faults.set({ missing: [...missing, { users: [username], from: 'both' }] });
      expect(pool.get(username)).toBeDefined();
    });
    expect(await commandHere(feed, deletesRelease)).toMatchObject({
      code: 0,
      stdout: `${feed.pool.id}: 0 deleted, ${GONE} turned out to exist, 0 still held\n`,
    });
    await feed.expectMirrorEqualsPool();
  });

  test('release lets usernames go to who has them now', async () => {
    const feed = await held({}, ({ pool }, username) => void pool.reuse(username));
    expect(await commandHere(feed, deletesRelease)).toMatchObject({
      code: 0,
      stdout: `${feed.pool.id}: ${GONE} deleted, 0 turned out to exist, 0 still held\n`,
    });
    await feed.expectMirrorEqualsPool();
    expect(
      await feed.query(
        `select op, count(*)::int as count from cognito_feed.changes where op <> 'read' group by op order by op`,
      ),
    ).toEqual([
      { op: 'delete', count: GONE },
      { op: 'insert', count: GONE },
    ]);
  });

  test('what nobody can prove stays held, with the reason', async () => {
    const feed = await held();
    feed.emulator.faults.set({
      failures: [{ kind: 'error', error: 'AccessDeniedException', operations: ['AdminGetUser'] }],
    });
    const { code, stdout } = await commandHere(feed, deletesRelease);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`0 deleted, 0 turned out to exist, ${GONE} still held`),
    });
    expect(stdout).toContain(`${GONE} still held: IAM does not allow the request`);
    expect(await stillHeld(feed)).toBe(GONE);
  });

  test('without AdminGetUser two exact looks have to do', async () => {
    const feed = await held({ CONFIRM_WITH_ADMIN_GET_USER: 'false' });
    expect((await commandHere(feed, deletesRelease)).stdout).toContain(`${GONE} deleted, 0 turned out to exist`);
    await feed.expectMirrorEqualsPool();
    expect(feed.emulator.record.lookups).toEqual([]);
  });

  test('release joins a running deployment, whose scans do not undo it', async () => {
    const feed = await held({ POLL_INTERVAL: '200ms' });
    const running = feed.run();
    await feed.scan();
    expect((await commandHere(feed, deletesRelease)).stdout).toContain(`${GONE} deleted`);
    await feed.scan();
    expect(await stillHeld(feed)).toBe(0);
    await feed.expectMirrorEqualsPool();
    await running.stop();
  });
});
