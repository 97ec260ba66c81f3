/** Order is decided for each user, not by the queue: batches that come twice, late, out of turn, or from another time. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Change, Message } from '../shared/change.ts';
import { observationTime } from '../shared/clock.ts';
import { fingerprintOf } from '../shared/fingerprint.ts';
import { queues } from '../shared/keys.ts';
import { createQueue, jobOptions } from '../shared/queue.ts';
import { rowOf, subOf } from '../shared/user.ts';
import { audited, auditMirror } from './audit.ts';
import { Random } from './emulator/random.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { until } from './until.ts';

const redis = redisOfFile();

/** A feed whose writer runs, with a queue into which batches are put by hand. */
async function delivering(users: number) {
  const feed = await startFeed({ redis });
  for (let i = 0; i < users; i++) feed.pool.create({ username: `u${i}`, attributes: [['email', `u${i}@example.com`]] });
  await feed.sync();
  feed.runWriter();
  const tag = await feed.tag();
  const queue = createQueue<Message, unknown>(queues.changes, tag, feed.redis.client);
  await auditMirror(feed);
  const { timeline } = await feed.slot();
  const now = () => observationTime(feed.redis, tag);

  return {
    feed,
    timeline,
    now,
    /** The user as the pool has it now. */
    seen: async (username: string, observedAt?: number): Promise<Change> => {
      const row = rowOf(feed.pool.get(username) ?? {});
      return {
        kind: 'upsert',
        sub: subOf(row),
        fingerprint: fingerprintOf(row, timeline),
        observedAt: observedAt ?? (await now()),
        row,
      };
    },
    /** Puts the batch into the queue, as often as told. */
    send: async (changes: Change[], { times = 1, under = timeline } = {}) => {
      for (let i = 0; i < times; i++) {
        const message = { type: 'batch', v: 1, pool: feed.pool.id, timeline: under, scan: null, changes } as const;
        await queue.add('batch', message, jobOptions(randomUUID()));
      }
    },
    /** Until all of them have been applied or dropped. */
    drained: () =>
      until(
        'an empty queue',
        async () => (await queue.getJobCountByTypes('wait', 'active', 'delayed', 'failed')) === 0,
      ),
    position: async () => {
      const { lsn, commit } = await feed.slot();
      return { lsn, commit };
    },
  };
}

const emailOf = async (feed: Feed, username: string) =>
  (await feed.query<{ email: string }>('select email from cognito.users where username = $1', [username]))[0]?.email;

test('Invariant 3: a batch delivered twice commits once; the second takes no LSN and no commit id', async () => {
  const { feed, seen, send, drained, position } = await delivering(20);
  const before = await position();
  feed.pool.update('u1', { email: 'moved@example.com' });
  feed.pool.create({ username: 'new' });
  const batch = [await seen('u1'), await seen('new')];

  await send(batch);
  await drained();
  const after = await position();
  expect(after.lsn).toBe(before.lsn + 1);
  expect((await audited(feed)).filter(({ level }) => level === 'ROW').map(({ op }) => op)).toEqual([
    'UPDATE',
    'INSERT',
  ]);

  await send(batch, { times: 3 });
  await drained();
  expect(await position()).toEqual(after);
  expect(await audited(feed)).toEqual([]);
  await feed.expectMirrorEqualsPool();
});

test('Invariant 5: an older observation that comes later changes nothing and takes no LSN', async () => {
  const { feed, seen, send, drained, position } = await delivering(20);
  feed.pool.update('u1', { email: 'first@example.com' });
  const older = await seen('u1');
  feed.pool.disable('u1');
  feed.pool.enable('u1');
  feed.pool.update('u1', { email: 'second@example.com' });
  await send([await seen('u1')]);
  await drained();
  const after = await position();

  await send([older], { times: 2 });
  await drained();
  expect(await position()).toEqual(after);
  expect(await emailOf(feed, 'u1')).toBe('second@example.com');
});

test('Invariant 5: a change whose date stands still is told from older ones by when it was observed', async () => {
  const { feed, seen, send, drained } = await delivering(20);
  // Disabling moves no date: only the observation's time can tell.
  const enabled = await seen('u1');
  feed.pool.disable('u1');
  await send([await seen('u1')]);
  await send([enabled]);
  await drained();
  await feed.expectMirrorEqualsPool();
});

test('Invariants 3 and 5: any shuffle of a history, each part of it twice, ends in its last state, with one LSN for each commit', async () => {
  const { feed, seen, send, drained, now, position } = await delivering(0);
  const random = new Random('shuffle');
  const history: Change[] = [];
  for (let i = 0; i < 12; i++) feed.pool.create({ username: `h${i}`, attributes: [['email', `h${i}@example.com`]] });
  for (let step = 0; step < 60; step++) {
    const username = `h${random.int(12)}`;
    const user = feed.pool.get(username);
    if (user === undefined) continue;
    const change = await seen(username);
    if (random.chance(0.1)) {
      feed.pool.delete(username);
      history.push({ kind: 'delete', sub: change.sub, username, observedAt: await now() });
    } else {
      history.push(change);
      feed.pool.update(username, { email: `h${step}@example.com` });
    }
  }
  for (const { Username = '' } of [...feed.pool.users()]) history.push(await seen(Username));
  expect(history.filter(({ kind }) => kind === 'delete').length).toBeGreaterThan(2);

  const { lsn } = await position();
  for (const change of random.shuffled([...history, ...history])) await send([change]);
  await drained();
  await feed.expectMirrorEqualsPool();
  const commits = await feed.query<{ lsn: number; seqs: number[] }>(
    'select lsn::int, array_agg(seq order by seq) as seqs from cognito_feed.changes where lsn > $1 group by lsn order by lsn',
    [lsn],
  );
  expect(commits).toEqual(commits.map((_, i) => ({ lsn: lsn + 1 + i, seqs: [0] })));
  expect((await position()).lsn).toBe(lsn + commits.length);
});

test('a batch of another timeline is dropped', async () => {
  const { feed, seen, send, drained, position } = await delivering(20);
  const before = await position();
  feed.pool.update('u1', { email: 'moved@example.com' });
  await send([await seen('u1')], { under: randomUUID() });
  await drained();
  expect(await position()).toEqual(before);
  expect(await emailOf(feed, 'u1')).toBe('u1@example.com');
});

test('what was seen before the floor, or half an hour ago, counts no more', async () => {
  const { feed, seen, send, drained, position } = await delivering(20);
  const before = await position();
  feed.pool.create({ username: 'new' });
  const [slot] = await feed.query<{ floor: number }>(
    'select extract(epoch from floor) * 1000 as floor from cognito_feed.slots',
  );
  await send([await seen('new', Number(slot?.floor) - 1)]);
  await send([await seen('new', Date.now() - 31 * 60_000)]);
  await drained();
  expect(await position()).toEqual(before);
  expect(await audited(feed)).toEqual([]);
  await send([await seen('new')]);
  await drained();
  await feed.expectMirrorEqualsPool();
});

test('a delete that comes before the last sight of its user, or twice, deletes once', async () => {
  const { feed, seen, send, drained, now } = await delivering(20);
  const last = await seen('u1');
  feed.pool.delete('u1');
  const gone: Change = { kind: 'delete', sub: last.sub, username: 'u1', observedAt: await now() };
  await send([gone], { times: 2 });
  await send([last]);
  await send([{ ...last, observedAt: await now() }]);
  await drained();
  await feed.expectMirrorEqualsPool();
  expect((await audited(feed)).filter(({ level }) => level === 'ROW')).toMatchObject([
    { op: 'DELETE', old: { username: 'u1' } },
  ]);
});

test('a delete of a user whose username is another’s by now deletes nobody', async () => {
  const { feed, seen, send, drained, now } = await delivering(20);
  const old = await seen('u1');
  feed.pool.reuse('u1');
  await send([await seen('u1')]);
  await drained();
  await audited(feed);
  await send([{ kind: 'delete', sub: old.sub, username: 'u1', observedAt: await now() }]);
  await drained();
  await feed.expectMirrorEqualsPool();
  expect(await audited(feed)).toEqual([]);
});

test('Invariant 5: of two subs that claim one username the later creation holds it, in whatever order they are told of', async () => {
  const { feed, seen, send, drained, now, position } = await delivering(20);
  feed.pool.create({ username: 'new' });
  const earlier = await seen('new');
  feed.pool.reuse('new');
  await send([await seen('new')]);
  await drained();
  const after = await position();
  // Nobody has buried the earlier one: only the dates can tell.
  await send([{ ...earlier, observedAt: await now() }], { times: 2 });
  await drained();
  expect(await position()).toEqual(after);
  await feed.expectMirrorEqualsPool();
});
