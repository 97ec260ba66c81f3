/** `verify`: what it calls drift, what it doesn't, and how `--repair` puts it right. */
import { describe, expect, test } from 'vitest';
import { verify } from '../services/cli/commands/verify.ts';
import { EXACT_LOOKS_MOST } from '../services/cli/verify/compare.ts';
import { commandHere } from './command-here.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();
const EQUAL = { equal: true, missing: 0, ghosts: 0, different: 0, snapshotDrift: 0, heldDeletes: 0, examples: [] };

async function mirrored(users: number, settings: Record<string, string> = {}): Promise<Feed> {
  const feed = await startFeed({ redis, settings });
  feed.pool.fill(users);
  expect(await feed.sync()).toMatchObject({ code: 0 });
  return feed;
}

async function verified(feed: Feed, repair = false) {
  const { code, stdout } = await commandHere(feed, verify, { json: true, ...(repair ? { repair } : {}) });
  const { pools } = JSON.parse(stdout) as { pools: Record<string, unknown>[] };
  expect(pools).toHaveLength(1);
  return { code, ...pools[0] };
}

const nameAt = (feed: Feed, place: number): string => feed.poolRows()[place]?.username ?? '';

describe('verify', () => {
  test('finds a mirror equal that is, in JSON and in words', async () => {
    const feed = await mirrored(300);
    expect(await verified(feed)).toEqual({ code: 0, pool: feed.pool.id, users: 300, ...EQUAL });
    const { code, stdout } = await commandHere(feed, verify);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `${feed.pool.id}: equal: 300 users in pool, snapshot and mirror\n`,
    });
  });

  test('tells what the pool has and the mirror lacks, what is the other way round, and what differs; --repair puts it right', async () => {
    const feed = await mirrored(200);
    const [gone = '', edited = '', stranger = 'stranger'] = [nameAt(feed, 3), nameAt(feed, 5)];
    await feed.query('delete from cognito.users where username = $1', [gone]);
    await feed.query(`update cognito.users set email = 'by hand' where username = $1`, [edited]);
    await feed.query(
      `insert into cognito.users (username, attributes) values ($1, '[{"sub": "00000000-0000-4000-8000-000000000000"}]')`,
      [stranger],
    );
    const created = feed.pool.create({ username: 'new' });
    const found = await verified(feed);
    expect(found).toMatchObject({
      code: 4,
      equal: false,
      users: 201,
      missing: 2,
      ghosts: 1,
      different: 1,
      snapshotDrift: 3,
      heldDeletes: 0,
    });
    expect(new Set((found as unknown as { examples: string[] }).examples)).toEqual(
      new Set([gone, edited, stranger, created.Username]),
    );
    const { code, stdout } = await commandHere(feed, verify);
    expect(code).toBe(4);
    expect(stdout).toContain('2 are missing from the mirror and 1 differ there; 1 in the mirror are not in the pool');
    expect(await verified(feed, true)).toMatchObject({ code: 0, ...EQUAL });
    await feed.expectMirrorEqualsPool();
  });

  test('calls a snapshot that lost its entries, or all of itself, drift; --repair builds it anew and changes no row', async () => {
    const feed = await mirrored(200);
    const { lsn } = await feed.slot();
    await feed.redis.client.flushall();
    expect(await verified(feed)).toMatchObject({ code: 4, missing: 0, ghosts: 0, different: 0, snapshotDrift: 200 });
    expect(await verified(feed, true)).toMatchObject({ code: 0, ...EQUAL });
    expect((await feed.slot()).lsn).toBe(lsn);
  });

  test('rejected rows are drift; --repair tries them again', async () => {
    const feed = await mirrored(50);
    await feed.query(`alter table cognito.users add constraint no_bob check (username <> 'bob')`);
    feed.pool.create({ username: 'bob' });
    expect((await feed.sync()).code).toBe(1);
    expect(await verified(feed)).toMatchObject({ code: 4, missing: 1, snapshotDrift: 0, examples: ['bob'] });
    await feed.query('alter table cognito.users drop constraint no_bob');
    expect(await verified(feed, true)).toMatchObject({ code: 0, ...EQUAL });
    expect(await feed.query('select from cognito_feed.rejects')).toEqual([]);
  });

  test('held deletes are counted apart and are no drift', async () => {
    const feed = await mirrored(100, { DELETE_GUARD_COUNT: '5' });
    for (const { username } of feed.poolRows().slice(0, 20)) feed.pool.delete(username);
    expect((await feed.sync()).code).toBe(3);
    expect(await verified(feed)).toMatchObject({ code: 0, users: 80, ...EQUAL, heldDeletes: 20 });
  });

  test('a held replacement is no drift either: neither who is to go nor who waits for the username', async () => {
    const feed = await mirrored(100, { DELETE_GUARD_COUNT: '5' });
    for (const { username } of feed.poolRows().slice(0, 20)) feed.pool.reuse(username);
    expect((await feed.sync()).code).toBe(3);
    const { heldDeletes, ...rest } = (await verified(feed)) as { heldDeletes: number; code: number };
    expect(rest).toMatchObject({ code: 0, users: 100, missing: 0, ghosts: 0, different: 0 });
    expect(heldDeletes).toBe(20);
  });

  test('does not believe a list that hides users: each is looked for before it counts', async () => {
    const feed = await mirrored(100);
    feed.emulator.faults.set({ missing: [{ share: 0.2, from: 'scan' }] });
    expect(await verified(feed)).toMatchObject({ code: 0, ...EQUAL });
  });

  test('walks again where too many differ to look for each', async () => {
    const users = EXACT_LOOKS_MOST + 200;
    const feed = await mirrored(users);
    await feed.query('delete from cognito.users');
    const before = feed.emulator.record.requests['ListUsers'] ?? 0;
    expect(await verified(feed)).toMatchObject({ code: 4, users, missing: users, snapshotDrift: users });
    expect((feed.emulator.record.requests['ListUsers'] ?? 0) - before).toBeLessThan(users / 10);
  });

  test('beside a running deployment what it has not scanned yet is no drift', async () => {
    const feed = await mirrored(100, { POLL_INTERVAL: '1s' });
    const running = feed.run();
    await feed.scan();
    for (const { username } of feed.poolRows().slice(0, 30)) feed.pool.update(username, { given_name: 'changed' });
    expect(await verified(feed)).toMatchObject({ code: 0, ...EQUAL });
    await running.stop();
  });

  test('could not compare: a pool that refuses, a Redis that is away', async () => {
    const feed = await mirrored(10);
    feed.emulator.faults.set({ failures: [{ kind: 'error', error: 'AccessDeniedException' }] });
    await expect(commandHere(feed, verify)).rejects.toMatchObject({ name: 'AccessDeniedException' });
  });
});
