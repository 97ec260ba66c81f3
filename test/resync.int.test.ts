/** A lost Redis costs a resync, never data and never a false change; what a hand edited in the mirror is put right by resync and scan. */
import { expect, inject, test } from 'vitest';
import { audited, auditMirror, rowsWritten } from './audit.ts';
import { hostileUsers } from './emulator/hostile-users.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { until } from './until.ts';

const redis = redisOfFile();

async function mirrored(users: number, postgres = inject('postgres18')): Promise<Feed> {
  const feed = await startFeed({ redis, postgres });
  for (let i = 0; i < users; i++) feed.pool.create({ username: `u${i}`, attributes: [['email', `u${i}@example.com`]] });
  expect(await feed.sync()).toMatchObject({ code: 0 });
  return feed;
}

const rowEvents = async (feed: Feed) =>
  (await audited(feed))
    .filter(({ level }) => level === 'ROW')
    .map((event) => [event.op, ((event.old ?? event.new) as { username: string }).username]);

test.for(['postgres15', 'postgres18'] as const)(
  'Invariants 2 and 6: after FLUSHALL the snapshot is rebuilt under a new timeline, without one false change, on %s',
  async (major) => {
    const feed = await startFeed({ redis, postgres: inject(major) });
    feed.pool.fill(1_000);
    feed.pool.load(hostileUsers(500, major));
    await feed.sync();
    await auditMirror(feed);
    const [before, written, log] = [
      await feed.slot(),
      await rowsWritten(feed),
      await feed.query('select count(*) from cognito_feed.changes'),
    ];

    for (let round = 0; round < 2; round++) {
      await feed.redis.client.flushall();
      feed.emulator.faults.set({ shuffleAttributes: round === 1 });
      const saidBefore = feed.logged.length;
      expect(await feed.sync()).toMatchObject({ code: 0, stderr: '' });
      expect(await audited(feed)).toEqual([]);
      // Nor was anything sent that the writer had to find out to be no change.
      expect(feed.logged.slice(saidBefore).filter((line) => line.includes('batch applied'))).toEqual([]);
      expect(await rowsWritten(feed)).toEqual(written);
      await feed.expectMirrorEqualsPool();
    }
    expect(await feed.query('select count(*) from cognito_feed.changes')).toEqual(log);
    const after = await feed.slot();
    expect(after.timeline).not.toBe(before.timeline);
    expect(after).toMatchObject({ state: 'streaming', users: 1_500, lsn: before.lsn, resync_reason: null });
  },
);

test('Invariant 6: what happened while Redis was lost is found by the next scan: each once', async () => {
  const feed = await mirrored(200);
  await auditMirror(feed);
  await feed.redis.client.flushall();
  feed.pool.delete('u1');
  feed.pool.update('u2', { email: 'moved@example.com' });
  feed.pool.reuse('u3');
  feed.pool.create({ username: 'new' });
  const { lsn } = await feed.slot();

  expect(await feed.sync()).toMatchObject({ code: 0 });
  await feed.expectMirrorEqualsPool();
  expect((await rowEvents(feed)).toSorted()).toEqual([
    ['DELETE', 'u1'],
    ['DELETE', 'u3'],
    ['INSERT', 'new'],
    ['INSERT', 'u3'],
    ['UPDATE', 'u2'],
  ]);
  // The feed's positions go on.
  expect(await feed.query('select min(lsn)::int as first from cognito_feed.changes where lsn > $1', [lsn])).toEqual([
    { first: lsn + 1 },
  ]);
});

test('Invariant 6: a Redis lost under running services is noticed, and the feed goes on by itself', async () => {
  const feed = await mirrored(150);
  const running = feed.run();
  await feed.scan();
  const { timeline } = await feed.slot();
  await auditMirror(feed);
  await feed.redis.client.flushall();
  feed.pool.update('u2', { email: 'moved@example.com' });
  feed.pool.delete('u3');

  await until('a new timeline', async () => {
    const slot = await feed.slot();
    return slot.timeline !== timeline && slot.resync_reason === null;
  });
  await feed.scan();
  await feed.expectMirrorEqualsPool();
  expect((await rowEvents(feed)).toSorted()).toEqual([
    ['DELETE', 'u3'],
    ['UPDATE', 'u2'],
  ]);
  await running.stop();
});

/** What a hand can do to the mirror, each to another user: who is left wrong tells which edit it was. */
const EDITS = `
  update cognito.users set email = 'wrong@example.com' where username = 'u-email';
  update cognito.users set username = 'renamed' where username = 'u-username';
  update cognito.users set attributes = null where username = 'u-no-attributes';
  update cognito.users set attributes = '{"sub": 7}' where username = 'u-no-array';
  update cognito.users set attributes = '[{"email": "x"}]' where username = 'u-no-sub';
  update cognito.users set attributes = '[{"sub": "00000000-0000-4000-8000-000000000000"}]' where username = 'u-other-sub';
  delete from cognito.users where username = 'u-deleted';
  insert into cognito.users select 'copy', email, status, enabled, created_at, updated_at, attributes from cognito.users where username = 'u-copied';
  insert into cognito.users select 'older copy', email, status, enabled, created_at - interval '1 day', updated_at, attributes
    from cognito.users where username = 'u-copied';
  insert into cognito.users (username) values ('stranger');
  update cognito.users set created_at = null, updated_at = '-infinity' where username = 'u-dates';
  update cognito.users set email = null, status = null, enabled = null, created_at = null, updated_at = null where username = 'u-nulls';
`;
test.for(['postgres15', 'postgres18'] as const)(
  'whatever a hand left in the mirror is put right by resync and scan, on %s',
  async (major) => {
    const feed = await mirrored(100, inject(major));
    for (const [, username = ''] of EDITS.matchAll(/'(u-[a-z-]+)'/g))
      if (feed.pool.get(username) === undefined)
        feed.pool.create({ username, attributes: [['email', `${username}@example.com`]] });
    await feed.sync();
    await feed.postgres.query(EDITS);
    await feed.redis.client.flushall();
    for (let round = 0; round < 2; round++) expect(await feed.sync()).toMatchObject({ code: 0 });
    await feed.expectMirrorEqualsPool();
    expect((await feed.slot()).users).toBe(feed.pool.size);
    // And then there is silence.
    await auditMirror(feed);
    await feed.sync();
    expect(await audited(feed)).toEqual([]);
  },
);

test('a mirror that was truncated is copied again: as read', async () => {
  const feed = await mirrored(100);
  await feed.postgres.query('truncate cognito.users');
  const { lsn } = await feed.slot();
  expect(await feed.sync()).toMatchObject({ code: 0 });
  await feed.expectMirrorEqualsPool();
  expect(await feed.query('select distinct op from cognito_feed.changes where lsn > $1', [lsn])).toEqual([
    { op: 'read' },
  ]);
  expect(await feed.slot()).toMatchObject({ state: 'streaming', users: 100 });
});

test('a mirror that was filled before the service came is taken over: only what differs is written', async () => {
  const feed = await mirrored(100);
  // As if somebody had copied the table here by pg_dump: no slot, no snapshot.
  await feed.postgres.query('truncate cognito_feed.slots, cognito_feed.changes, cognito_feed.tombstones');
  await feed.redis.client.flushall();
  await auditMirror(feed);
  feed.pool.update('u1', { email: 'moved@example.com' });
  feed.pool.delete('u2');
  expect(await feed.sync()).toMatchObject({ code: 0 });
  await feed.expectMirrorEqualsPool();
  expect((await rowEvents(feed)).toSorted()).toEqual([
    ['DELETE', 'u2'],
    ['UPDATE', 'u1'],
  ]);
  expect(await feed.query('select op from cognito_feed.changes order by op')).toEqual([
    { op: 'delete' },
    { op: 'update' },
  ]);
});
