/** The guard: deletes too many to believe are held, and everything else goes on. */
import { expect, test } from 'vitest';
import { audited, auditMirror } from './audit.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();

async function filled(users: number, settings: Record<string, string> = {}): Promise<Feed> {
  const feed = await startFeed({ redis, settings });
  for (let i = 0; i < users; i++) feed.pool.create({ username: `u${i}`, attributes: [['email', `u${i}@example.com`]] });
  expect(await feed.sync()).toMatchObject({ code: 0 });
  feed.emulator.record.clear();
  return feed;
}

const deleteUsers = (feed: Feed, from: number, to: number) => {
  for (let i = from; i < to; i++) feed.pool.delete(`u${i}`);
};
const status = async (feed: Feed) =>
  (await feed.query('select users::int, held_deletes::int as held, rejects::int, state from cognito_feed.status'))[0];
const held = (feed: Feed) =>
  feed.query<{ username: string; sub: string; reason: string }>(
    'select username, sub, reason from cognito_feed.held_deletes',
  );

test('Invariant 4: a scan that would delete 20 % of 1,000 users holds the deletes, asks no AdminGetUser, and sync exits 3', async () => {
  const feed = await filled(1_000);
  const rows = await feed.mirrorRows();
  deleteUsers(feed, 0, 200);
  feed.pool.create({ username: 'new' });
  feed.pool.disable('u500');

  for (let round = 0; round < 2; round++) {
    const { code, stdout } = await feed.sync();
    expect(code).toBe(3);
    expect(stdout).toContain('0 deleted; 200 deletes held, 0 rows rejected');
    expect(await status(feed)).toEqual({ users: 1_001, held: 200, rejects: 0, state: 'streaming' });
  }
  expect(feed.emulator.record.lookups).toEqual([]);
  const all = await held(feed);
  expect(all.map(({ username }) => username).toSorted()).toEqual(
    Array.from({ length: 200 }, (_, i) => `u${i}`).toSorted(),
  );
  expect(new Set(all.map(({ reason }) => reason))).toEqual(new Set([expect.stringContaining('guard')]));
  expect(all.every(({ sub }) => rows.some(({ attributes }) => JSON.stringify(attributes).includes(sub)))).toBe(true);
  // Everything else has gone on: the one is there, the other is disabled.
  expect(
    await feed.query(`select username, enabled from cognito.users where username in ('new', 'u500') order by 1`),
  ).toEqual([
    { username: 'new', enabled: true },
    { username: 'u500', enabled: false },
  ]);
});

test('held deletes lapse when the users are seen again', async () => {
  const feed = await filled(300);
  feed.emulator.faults.set({ missing: [{ share: 0.4 }] });
  expect(await feed.sync()).toMatchObject({ code: 3 });
  const { held: before } = (await status(feed)) as { held: number };
  expect(before).toBeGreaterThan(50);

  feed.emulator.faults.reset();
  expect(await feed.sync()).toMatchObject({ code: 0 });
  expect(await status(feed)).toMatchObject({ held: 0, users: 300 });
  await feed.expectMirrorEqualsPool();
});

test('held deletes that become few enough to believe are proved like any other', async () => {
  const feed = await filled(300);
  feed.emulator.faults.set({ missing: [{ users: Array.from({ length: 60 }, (_, i) => `u${i}`) }] });
  deleteUsers(feed, 0, 10);
  expect(await feed.sync()).toMatchObject({ code: 3 });
  expect(feed.emulator.record.lookups).toEqual([]);

  feed.emulator.faults.reset();
  expect(await feed.sync()).toMatchObject({ code: 0 });
  expect(await status(feed)).toMatchObject({ held: 0, users: 290 });
  await feed.expectMirrorEqualsPool();
});

test('both limits must be passed: 5 of 40 and 10 % of 60 are deleted, 6 of 35 are held', async () => {
  const guard = { DELETE_GUARD_COUNT: '5', DELETE_GUARD_PERCENT: '10' };
  const small = await filled(40, guard);
  deleteUsers(small, 0, 5);
  expect(await small.sync()).toMatchObject({ code: 0 });
  await small.expectMirrorEqualsPool();
  deleteUsers(small, 5, 11);
  expect(await small.sync()).toMatchObject({ code: 3 });
  expect(await status(small)).toMatchObject({ held: 6, users: 35 });

  const larger = await filled(60, guard);
  deleteUsers(larger, 0, 6);
  expect(await larger.sync()).toMatchObject({ code: 0 });
  await larger.expectMirrorEqualsPool();
});

test.for([
  ['DELETE_GUARD_COUNT', { DELETE_GUARD_COUNT: '' }, 3],
  ['DELETE_GUARD_PERCENT', { DELETE_GUARD_PERCENT: '' }, 0],
  ['both', { DELETE_GUARD_COUNT: '', DELETE_GUARD_PERCENT: '' }, 0],
] as const)('an empty limit no longer counts: 30 of 100 users and no %s', async ([, settings, code]) => {
  const feed = await filled(100, settings);
  deleteUsers(feed, 0, 30);
  expect(await feed.sync()).toMatchObject({ code });
  expect(await status(feed)).toMatchObject(code === 3 ? { held: 30, users: 100 } : { held: 0, users: 70 });
});

test('Invariant 4: usernames replaced past the guard: both halves of each are held', async () => {
  const feed = await filled(400);
  await auditMirror(feed);
  for (let i = 0; i < 60; i++) feed.pool.reuse(`u${i}`);
  const before = await feed.mirrorRows();

  for (let round = 0; round < 2; round++) {
    expect(await feed.sync()).toMatchObject({ code: 3 });
    expect(await status(feed)).toMatchObject({ held: 60, users: 400 });
  }
  expect(await audited(feed)).toEqual([]);
  expect(await feed.mirrorRows()).toEqual(before);
});

test('usernames replaced within the guard are replaced', async () => {
  const feed = await filled(400);
  for (let i = 0; i < 40; i++) feed.pool.reuse(`u${i}`);
  expect(await feed.sync()).toMatchObject({ code: 0 });
  await feed.expectMirrorEqualsPool();
});
