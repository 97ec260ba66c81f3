/** Invariant 4: no user that exists in the pool is ever deleted from the mirror, whatever ListUsers hides; and those that are gone are. */
import { expect, inject, test } from 'vitest';
import type { FaultPatch } from './emulator/faults.ts';
import { type Feed, freshEmulator, redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();
type FailureRule = NonNullable<FaultPatch['failures']>[number];

const NO_GUARD = { DELETE_GUARD_COUNT: '', DELETE_GUARD_PERCENT: '' };

const usernames = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `u${from + i}`);

function create(feed: Feed, names: readonly string[]): void {
  for (const username of names) feed.pool.create({ username, attributes: [['email', `${username}@example.com`]] });
}

const deletes = (feed: Feed) => feed.query(`select username from cognito_feed.changes where op = 'delete'`);
const held = (feed: Feed) =>
  feed.query<{ username: string; reason: string }>(
    'select username, reason from cognito_feed.held_deletes order by username',
  );

test('Invariant 4: users hidden from every list, by scan and by exact filter alike, are never deleted', async () => {
  const feed = await startFeed({ redis });
  create(feed, usernames(0, 200));
  const running = feed.run();
  await feed.scan();

  const hidden = usernames(100, 120);
  feed.emulator.faults.set({ missing: [{ users: hidden }] });
  for (let round = 0; round < 3; round++) {
    feed.emulator.record.clear();
    expect(await feed.scan()).toMatchObject({ complete: true, users: 180, deleted: 0 });
    // They were looked for each time: first without money, then for sure.
    expect(feed.emulator.record.lookups.toSorted()).toEqual(hidden);
    expect(feed.emulator.record.lists.filter(({ filter }) => filter?.startsWith('sub = '))).toHaveLength(hidden.length);
  }
  await feed.expectMirrorEqualsPool();
  expect(await held(feed)).toEqual([]);
  await running.stop();
});

test('Invariant 4: holds without any guard, when the whole pool seems empty', async () => {
  const feed = await startFeed({ redis, settings: NO_GUARD });
  create(feed, usernames(0, 60));
  expect(await feed.sync()).toMatchObject({ code: 0 });

  feed.emulator.faults.set({ missing: [{}] });
  for (let round = 0; round < 2; round++) expect(await feed.sync()).toMatchObject({ code: 0 });
  expect(new Set(feed.emulator.record.lookups).size).toBe(60);
  await feed.expectMirrorEqualsPool();
  expect(await deletes(feed)).toEqual([]);
});

test('Invariant 4: holds while answers flicker, and with a real delete among those hidden', async () => {
  const feed = await startFeed({ redis, settings: NO_GUARD });
  create(feed, usernames(0, 100));
  const running = feed.run();
  await feed.scan();

  feed.emulator.faults.set({ missing: [{ share: 0.5, rate: 0.5 }] });
  for (let round = 0; round < 3; round++) {
    feed.pool.delete(`u${round}`);
    expect(await feed.scan()).toMatchObject({ complete: true, deleted: 1 });
    await feed.expectMirrorEqualsPool();
  }
  expect(await deletes(feed)).toEqual([{ username: 'u0' }, { username: 'u1' }, { username: 'u2' }]);
  await running.stop();
});

test('users whom only the scan misses are cleared by the exact look: nobody is made a billable user', async () => {
  const feed = await startFeed({ redis });
  create(feed, usernames(0, 200));
  await feed.sync();

  const hidden = usernames(0, 40);
  feed.emulator.faults.set({ missing: [{ users: hidden, from: 'scan' }] });
  feed.pool.update('u7', { email: 'moved@example.com' });
  expect(await feed.sync()).toMatchObject({ code: 0 });
  expect(feed.emulator.record.lookups).toEqual([]);
  // What the exact look showed counts like any other observation.
  await feed.expectMirrorEqualsPool();
});

test.for(['postgres15', 'postgres18'] as const)(
  'a user who is gone is deleted by the next scan, on %s',
  async (major) => {
    const feed = await startFeed({ redis, postgres: inject(major) });
    create(feed, usernames(0, 150));
    await feed.sync();
    for (const username of usernames(60, 90)) feed.pool.delete(username);
    expect((await feed.sync()).stdout).toContain(' 30 deleted; 0 deletes held');
    await feed.expectMirrorEqualsPool();
    expect(await feed.query('select username from cognito_feed.tombstones order by 1')).toHaveLength(30);
  },
);

test('Invariant 4: where IAM denies AdminGetUser deletes are held, with the reason, until it is granted', async () => {
  const feed = await startFeed({ redis });
  create(feed, usernames(0, 100));
  await feed.sync();
  const denied = { kind: 'error', error: 'AccessDeniedException', operations: ['AdminGetUser'] } satisfies FailureRule;
  feed.emulator.faults.set({ failures: [denied] });
  for (const username of usernames(10, 13)) feed.pool.delete(username);
  feed.pool.update('u50', { email: 'moved@example.com' });

  for (let round = 0; round < 2; round++) {
    expect(await feed.sync()).toMatchObject({ code: 3 });
    const reason = expect.stringMatching(/IAM does not allow.*AccessDeniedException.*AdminGetUser/);
    expect(await held(feed)).toEqual(usernames(10, 13).map((username) => ({ username, reason })));
  }
  expect(await feed.mirrorRows()).toHaveLength(100);
  // Everything else goes on.
  expect(await feed.query(`select email from cognito.users where username = 'u50'`)).toEqual([
    { email: 'moved@example.com' },
  ]);

  feed.emulator.faults.reset();
  expect(await feed.sync()).toMatchObject({ code: 0 });
  await feed.expectMirrorEqualsPool();
  expect(await held(feed)).toEqual([]);
});

test('Invariant 4: AdminGetUser answering with another user, whose alias the username is, proves nothing', async () => {
  const emulator = await freshEmulator({ pools: [{ emailAlias: true }] });
  const feed = await startFeed({ redis, emulator });
  create(feed, usernames(0, 50));
  feed.pool.create({ username: 'anna@example.com' });
  await feed.sync();
  feed.pool.delete('anna@example.com');
  feed.pool.update('u1', { email: 'anna@example.com' });

  expect(await feed.sync()).toMatchObject({ code: 3 });
  expect(await held(feed)).toEqual([{ username: 'anna@example.com', reason: expect.stringContaining('alias') }]);

  feed.pool.update('u1', { email: 'u1@example.com' });
  expect(await feed.sync()).toMatchObject({ code: 0 });
  await feed.expectMirrorEqualsPool();
});

test('Invariant 4: another sub under the very username is proof, even before that user is listed', async () => {
  const feed = await startFeed({ redis });
  create(feed, usernames(0, 50));
  await feed.sync();
  feed.emulator.faults.set({ late: [{ users: ['u5'] }] });
  feed.pool.reuse('u5');

  expect(await feed.sync()).toMatchObject({ code: 0 });
  expect(feed.emulator.record.lookups).toEqual(['u5']);
  expect(await feed.query(`select from cognito.users where username = 'u5'`)).toEqual([]);

  feed.emulator.faults.reset();
  expect(await feed.sync()).toMatchObject({ code: 0 });
  await feed.expectMirrorEqualsPool();
});

test('CONFIRM_WITH_ADMIN_GET_USER=false: deleted only when a second scan misses it too, and nobody is ever asked for by name', async () => {
  const feed = await startFeed({ redis, settings: { CONFIRM_WITH_ADMIN_GET_USER: 'false' } });
  create(feed, usernames(0, 100));
  const running = feed.run();
  await feed.scan();

  feed.pool.delete('u1');
  // Missed by one scan alone: u2.
  feed.emulator.faults.set({ missing: [{ users: ['u2'] }] });
  expect(await feed.scan()).toMatchObject({ complete: true, deleted: 0 });
  expect(await feed.mirrorRows()).toHaveLength(100);
  feed.emulator.faults.reset();
  expect(await feed.scan()).toMatchObject({ complete: true, deleted: 1 });
  await feed.expectMirrorEqualsPool();
  // It was seen in between: the count begins anew.
  feed.emulator.faults.set({ missing: [{ users: ['u2'] }] });
  expect(await feed.scan()).toMatchObject({ complete: true, deleted: 0 });
  await feed.expectMirrorEqualsPool();
  expect(feed.emulator.record.lookups).toEqual([]);
  await running.stop();
});
