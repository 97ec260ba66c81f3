/** Invariant 5: an older observation never overwrites a newer one; nobody comes back from the dead. */
import { expect, test } from 'vitest';
import { observationTime } from '../shared/clock.ts';
import { keys } from '../shared/keys.ts';
import { audited, auditMirror } from './audit.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();
const USERS = 80;

async function filled(settings: Record<string, string> = {}): Promise<Feed> {
  const feed = await startFeed({ redis, settings });
  for (let i = 0; i < USERS; i++) feed.pool.create({ username: `u${i}`, attributes: [['email', `u${i}@example.com`]] });
  return feed;
}

/** Deletes the user; lists hide it now and show it again once `missing` is taken back. */
async function deletedUnseen(feed: Feed, username: string): Promise<void> {
  feed.emulator.faults.set({ ghosts: [{ users: [username] }], missing: [{ users: [username] }] });
  feed.pool.delete(username);
}

test('Invariant 5: the ghost of a deleted user does not come back, scan after scan', async () => {
  const feed = await filled();
  const running = feed.run();
  await feed.scan();
  await deletedUnseen(feed, 'u3');
  expect(await feed.scan()).toMatchObject({ complete: true, deleted: 1 });
  await feed.expectMirrorEqualsPool();
  await auditMirror(feed);

  feed.emulator.faults.set({ missing: [] });
  for (let round = 0; round < 2; round++) {
    expect(await feed.scan()).toMatchObject({ complete: true, users: USERS, inserted: 0 });
    await feed.expectMirrorEqualsPool();
  }
  expect(await audited(feed)).toEqual([]);
  await running.stop();
});

test('Invariant 5: nor does it after a resync: tombstones are kept in Postgres', async () => {
  const feed = await filled();
  await feed.sync();
  await deletedUnseen(feed, 'u3');
  await feed.sync();
  await feed.expectMirrorEqualsPool();

  await feed.redis.client.flushall();
  feed.emulator.faults.set({ missing: [] });
  expect((await feed.sync()).stdout).toContain(`${USERS} users in`);
  await feed.expectMirrorEqualsPool();
});

test('the ghost of an earlier holder of a username does not take it back', async () => {
  const feed = await filled();
  await feed.sync();
  feed.emulator.faults.set({ ghosts: [{ users: ['u3'] }] });
  feed.pool.reuse('u3');
  for (let round = 0; round < 3; round++) {
    // The list shows both: the later one holds the name.
    expect((await feed.sync()).stdout).toContain(`${USERS + 1} users in`);
    await feed.expectMirrorEqualsPool();
  }
  expect(await feed.query(`select op from cognito_feed.changes where username = 'u3' order by lsn, seq`)).toEqual([
    { op: 'read' },
    { op: 'delete' },
    { op: 'insert' },
  ]);
});

/** Lists that first show the user as it is, then as it was before its last write. */
async function turnedStale(feed: Feed, username: string): Promise<void> {
  feed.emulator.faults.set({ stale: [{ users: [username], rate: 0 }] });
  const [rule] = feed.emulator.faults.settings.stale;
  if (rule === undefined) throw new Error('no rule');
  feed.pool.update(username, { email: 'newer@example.com' });
  await feed.scan();
  await feed.expectMirrorEqualsPool();
  rule.rate = 1;
}

test('Invariant 5: a stale read is put off', async () => {
  const feed = await filled();
  const running = feed.run();
  await feed.scan();
  await turnedStale(feed, 'u3');
  await auditMirror(feed);

  for (let round = 0; round < 3; round++) {
    expect(await feed.scan()).toMatchObject({ complete: true, updated: 0 });
    await feed.expectMirrorEqualsPool();
  }
  expect(await audited(feed)).toEqual([]);
  await running.stop();
});

test('a read that is still the same ten minutes later is news, whatever its date says', async () => {
  const feed = await filled();
  const running = feed.run();
  await feed.scan();
  await turnedStale(feed, 'u3');
  await feed.scan();
  const later = async (minutes: number) => {
    const tag = await feed.tag();
    await feed.redis.client.set(keys.clock(tag), (await observationTime(feed.redis, tag)) + minutes * 60_000);
  };
  const email = async () => (await feed.query(`select email from cognito.users where username = 'u3'`))[0];

  await later(9);
  await feed.scan();
  expect(await email()).toEqual({ email: 'newer@example.com' });
  await later(1);
  expect(await feed.scan()).toMatchObject({ updated: 1 });
  expect(await email()).toEqual({ email: 'u3@example.com' });
  await running.stop();
});
