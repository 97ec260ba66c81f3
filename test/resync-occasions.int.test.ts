/** Further occasions of a resync, each on real servers: afterwards the feed goes on, and nobody who stayed has seen a change. */
import { randomUUID } from 'node:crypto';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { resync } from '../services/cli/commands/resync.ts';
import { migrate } from '../services/writer/migrate.ts';
import { audited, auditMirror } from './audit.ts';
import { commandHere } from './command-here.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { until } from './until.ts';

const redis = redisOfFile({ appendOnly: true, settings: { appendfsync: 'always' } });
const USERS = 300;

async function streaming(settings: Record<string, string> = {}): Promise<Feed> {
  const feed = await startFeed({ redis, settings });
  feed.pool.fill(USERS);
  expect((await feed.sync()).code).toBe(0);
  await auditMirror(feed);
  return feed;
}

/** A new timeline stands. */
const resynced = (feed: Feed, before: string) =>
  until(
    'a new timeline',
    async () => {
      const slot = await feed.slot();
      return slot.timeline !== before && slot.resync_reason === null ? slot : undefined;
    },
    () => feed.logged.slice(-15).join(''),
  );

/** Somebody was deleted, somebody changed and somebody came while the state was lost: these three changes come, and no other. */
async function expectOnlyNews(feed: Feed, lose: () => Promise<void>, running = feed.run()): Promise<void> {
  await feed.scan();
  await audited(feed);
  const { timeline, lsn } = await feed.slot();
  const [gone, changed] = feed.poolRows();
  feed.pool.delete(gone?.username ?? '');
  feed.pool.update(changed?.username ?? '', { given_name: randomUUID() });
  feed.pool.create({ username: `new-${randomUUID()}` });
  await lose();
  const after = await resynced(feed, timeline);
  expect(after.lsn).toBeGreaterThanOrEqual(lsn);
  expect(await feed.scan()).toMatchObject({ complete: true });
  await feed.expectMirrorEqualsPool();
  const rows = (await audited(feed)).filter(({ level }) => level === 'ROW').map(({ op }) => op);
  expect(rows.toSorted()).toEqual(['DELETE', 'INSERT', 'UPDATE']);
  await running.stop();
}

describe('a new timeline begins, and only news changes the mirror', () => {
  test('on a Redis that has gone back to an older copy', async () => {
    const feed = await streaming();
    const running = feed.run();
    await feed.scan();
    const { server } = redis;
    const copy = join(server.folder, '..', `copy-${randomUUID()}`);
    await server.shutDown();
    await cp(join(server.folder, 'appendonlydir'), copy, { recursive: true });
    await server.start();
    // Two commits: one alone would be redone.
    for (const { username } of feed.poolRows().slice(100, 102)) {
      feed.pool.update(username, { given_name: 'later' });
      await feed.scan();
    }
    const goBack = async () => {
      await server.kill();
      await rm(join(server.folder, 'appendonlydir'), { recursive: true });
      await cp(copy, join(server.folder, 'appendonlydir'), { recursive: true });
      await rm(copy, { recursive: true });
      await server.start();
    };
    await expectOnlyNews(feed, goBack, running);
  });

  test('on `resync`, with a running deployment', async () => {
    const feed = await streaming();
    await expectOnlyNews(feed, async () => {
      const { code, stdout } = await commandHere(feed, resync);
      expect({ code, stdout }).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/: timeline [0-9a-f-]{36} stands, with 300 users/),
      });
    });
  });

  test('at RESYNC_INTERVAL, right after a keepalive: what a hand edited is put right', async () => {
    const feed = await streaming({ RESYNC_INTERVAL: '100ms' });
    const { timeline } = await feed.slot();
    const running = feed.run();
    const [edited] = feed.poolRows();
    await feed.query(`update cognito.users set email = 'by hand' where username = $1`, [edited?.username]);
    await feed.scan();
    await resynced(feed, timeline);
    await feed.scan();
    await feed.expectMirrorEqualsPool();
    await running.stop();
  });
});

describe('`resync` alone', () => {
  test('works without running services and without AWS, and changes no row', async () => {
    const feed = await streaming();
    await feed.emulator.stop();
    const before = await feed.slot();
    const { code } = await commandHere(feed, resync);
    const after = await feed.slot();
    expect(code).toBe(0);
    expect(after.timeline).not.toBe(before.timeline);
    expect(after).toMatchObject({ lsn: before.lsn, users: USERS, resync_reason: null });
    expect(await audited(feed)).toEqual([]);
  });

  test('stands on a database where no writer has ever run', async () => {
    const feed = await startFeed({ redis });
    expect((await commandHere(feed, resync)).code).toBe(0);
    feed.pool.fill(50);
    expect((await feed.sync()).code).toBe(0);
    await feed.expectMirrorEqualsPool();
  });
});

test('DROP: the writer says that it waits for `migrate`, and then copies anew', async () => {
  const feed = await streaming();
  const running = feed.run();
  await feed.scan();
  const { timeline } = await feed.slot();
  await feed.query('drop table cognito.users cascade');
  await until('the writer to say so', () => running.readiness.reasons().some((reason) => reason.includes('migrate')));
  const targets = [{ schema: 'cognito', name: 'users' }];
  await migrate(feed.postgres, { targets, publication: 'cognito_users', roles: false });
  await resynced(feed, timeline);
  await feed.scan();
  await feed.expectMirrorEqualsPool();
  await running.stop();
});

test('FLUSHALL in the middle of the initial copy: it is finished, each user once', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(4_000);
  feed.emulator.faults.set({ latency: { ms: 20, jitterMs: 0 } });
  const running = feed.run();
  await until('some of the copy', async () => (await feed.slot().catch(() => undefined))?.users || undefined);
  const { timeline, users } = await feed.slot();
  expect(users).toBeLessThan(4_000);
  await feed.redis.client.flushall();
  feed.emulator.faults.set({ latency: { ms: 0, jitterMs: 0 } });
  expect(await resynced(feed, timeline)).toMatchObject({ state: 'copying' });
  expect(await feed.scan()).toMatchObject({ complete: true });
  await feed.expectMirrorEqualsPool();
  const [log] = await feed.query(
    `select count(*)::int as all, count(distinct username)::int as each from cognito_feed.changes where op = 'read'`,
  );
  expect(log).toEqual({ all: 4_000, each: 4_000 });
  await running.stop();
});
