/** Jobs that this version can't read, a delete that a user's own table forbids, and a queue whose work is delivered twice. */
import { randomUUID } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { MAX_AGE_MS } from '../services/writer/decide.ts';
import { WIRE_VERSION } from '../shared/change.ts';
import { keys, queues } from '../shared/keys.ts';
import { closeQueue, createQueue, jobOptions } from '../shared/queue.ts';
import { createRedisClient } from '../shared/redis.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { until } from './until.ts';

const redis = redisOfFile();

async function streaming() {
  const feed = await startFeed({ redis });
  feed.pool.fill(50);
  const running = feed.run();
  await feed.scan();
  const client = createRedisClient({ url: redis.server.url, ca: null });
  const queue = createQueue<unknown, unknown>(queues.changes, await feed.tag(), client);
  onTestFinished(async () => {
    await closeQueue(queue);
    client.disconnect();
  });
  return { feed, running, queue };
}

async function expectGoesOn(feed: Feed): Promise<void> {
  feed.pool.create({ username: randomUUID() });
  expect(await feed.scan()).toMatchObject({ complete: true, inserted: 1 });
  await feed.expectMirrorEqualsPool();
}

const parked = async (feed: Feed) =>
  (await feed.redis.client.lrange(keys.parked(await feed.tag()), 0, -1)).map((text) => JSON.parse(text));

test.for<[string, unknown]>([
  ['nothing', null],
  ['text', 'CANARY'],
  ['an unknown type', { v: WIRE_VERSION, type: 'CANARY' }],
  ['an older version', { v: 0, type: 'batch', changes: ['CANARY'] }],
  [
    'a wrong field',
    {
      v: WIRE_VERSION,
      type: 'batch',
      pool: 'p',
      timeline: 't',
      scan: null,
      changes: [{ kind: 'delete', sub: 1, username: 'CANARY' }],
    },
  ],
])(
  'a job that holds %s is parked with its id and the reason, without what it holds, and the feed goes on',
  async ([, data]) => {
    const { feed, running, queue } = await streaming();
    const id = randomUUID();
    await queue.add('batch', data, jobOptions(id));
    const [one] = await until('a parked job', async () => {
      const all = await parked(feed);
      return all.length > 0 && all;
    });
    expect(one).toEqual({ id, reason: expect.any(String), at: expect.any(Number) });
    expect(await queue.getJob(id)).toBeUndefined();
    expect(feed.logged.filter((line) => line.includes(id) && line.includes('"level":"error"'))).toHaveLength(1);
    expect(JSON.stringify(one) + feed.logged.join('')).not.toContain('CANARY');
    await expectGoesOn(feed);
    await running.stop();
  },
);

test('a job whose payload is no JSON at all is parked when it comes again', async () => {
  const { feed, running, queue } = await streaming();
  await running.stop();
  const id = randomUUID();
  await queue.add('batch', {}, jobOptions(id));
  await feed.redis.client.hset(`${await feed.tag()}:${queues.changes}:${id}`, 'data', '{"CANARY');
  const again = feed.run();
  await until('a parked job', async () => (await parked(feed)).some((job) => job.id === id));
  expect(await queue.getJob(id)).toBeUndefined();
  expect(feed.logged.join('')).not.toContain('CANARY');
  await expectGoesOn(feed);
  await again.stop();
});

test('a batch of a newer version waits for a newer writer, as long as its observations count; the feed goes on beside it', async () => {
  const { feed, running, queue } = await streaming();
  const [young, old] = [randomUUID(), randomUUID()];
  await queue.add('batch', { v: WIRE_VERSION + 1, type: 'better' }, jobOptions(young));
  await queue.add(
    'batch',
    { v: WIRE_VERSION + 1, type: 'better' },
    { ...jobOptions(old), timestamp: Date.now() - MAX_AGE_MS - 1 },
  );
  await until('the old one to be parked', async () => (await parked(feed)).length > 0);
  expect((await parked(feed)).map(({ id }) => id)).toEqual([old]);
  await until('the young one to have been tried', async () => ((await queue.getJob(young))?.attemptsMade ?? 0) > 1);
  await expectGoesOn(feed);
  expect(await queue.getJob(young)).toBeDefined();
  await running.stop();
});

test("a foreign key of the user's own that forbids a delete: the row is rejected, the rest goes on, and it goes when the key lets it", async () => {
  const { feed, running } = await streaming();
  const [owner, other] = feed.poolRows().map(({ username }) => username) as [string, string];
  await feed.query('create table public.orders (username text references cognito.users)');
  await feed.query('insert into public.orders values ($1)', [owner]);
  feed.pool.delete(owner);
  feed.pool.delete(other);
  expect(await feed.scan()).toMatchObject({ complete: true, deleted: 1 });
  expect(await feed.query('select username, sqlstate, reason from cognito_feed.rejects')).toEqual([
    {
      username: owner,
      sqlstate: '23503',
      reason: expect.stringMatching(/^a constraint of the mirror refuses a row \(table public\.orders, constraint/),
    },
  ]);
  await feed.query('delete from public.orders');
  expect(await feed.scan()).toMatchObject({ complete: true, deleted: 1 });
  expect(await feed.query('select from cognito_feed.rejects')).toEqual([]);
  await feed.expectMirrorEqualsPool();
  await running.stop();
});

test('after a refused row the same connection serves the next batch', async () => {
  const { feed, running } = await streaming();
  const sessions = () =>
    feed.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and application_name = 'cognito-feed writer' order by pid`,
    );
  await feed.query(`alter table cognito.users add constraint no_bob check (username <> 'bob')`);
  const before = (await sessions()).map(({ pid }) => pid);
  feed.pool.create({ username: 'bob' });
  expect(await feed.scan()).toMatchObject({ complete: true, inserted: 0 });
  feed.pool.create({ username: 'alice' });
  expect(await feed.scan()).toMatchObject({ complete: true, inserted: 1 });
  const after = (await sessions()).map(({ pid }) => pid);
  expect(before.every((pid) => after.includes(pid))).toBe(true);
  await running.stop();
});
