/** Redis away: killed, stopped, behind a connection that leads nowhere, out of memory. The feed waits and goes on by itself. */
import { randomUUID } from 'node:crypto';
import { describe, expect, onTestFinished, test } from 'vitest';
import { HalfOpenProxy } from './emulator/half-open-proxy.ts';
import { type Feed, type FeedOptions, type Running, startFeed } from './feed.ts';
import { type RedisOptions, type RedisServer, startRedis } from './servers/redis.ts';
import { until } from './until.ts';

/** Each test takes its own Redis away. */
async function feedWithRedis(
  options: RedisOptions,
  more: (server: RedisServer) => Partial<FeedOptions> = () => ({}),
): Promise<{ feed: Feed; server: RedisServer }> {
  const server = await startRedis(options);
  onTestFinished(() => server.stop());
  const feed = await startFeed({ redis: { server }, ...more(server) });
  feed.pool.fill(300);
  return { feed, server };
}

/** Every failure on the way stands in the error table. */
const expectKnownErrors = (feed: Feed): void =>
  expect(feed.logged.filter((line) => line.includes('"kind":"unknown"'))).toEqual([]);

const ready = (running: Running) =>
  until(
    'readiness',
    () => running.readiness.reasons().length === 0,
    () => running.readiness.reasons().join('\n'),
  );
const notReady = (running: Running) => until('a reason not to be ready', () => running.readiness.reasons()[0]);

/** Somebody changed, came and went meanwhile. */
function churn(feed: Feed): void {
  const { pool } = feed;
  const [gone, changed] = feed.poolRows();
  pool.delete(gone?.username ?? '');
  pool.update(changed?.username ?? '', { given_name: randomUUID() });
  pool.create({ username: `new-${randomUUID()}` });
}

/** Three changes in the log beside the initial copy's, and the mirror equals the pool. */
async function expectGoesOn(feed: Feed, running: Running, ended: () => boolean): Promise<void> {
  await ready(running);
  expect(await feed.scan()).toMatchObject({ complete: true });
  await feed.expectMirrorEqualsPool();
  expect(
    await feed.query(`select op, count(*)::int as count from cognito_feed.changes group by op order by op`),
  ).toEqual([
    { op: 'delete', count: 1 },
    { op: 'insert', count: 1 },
    { op: 'read', count: 300 },
    { op: 'update', count: 1 },
  ]);
  expect(ended()).toBe(false);
  await running.stop();
  expectKnownErrors(feed);
}

/** Runs until the first scan is applied. */
async function streaming(feed: Feed): Promise<{ running: Running; ended: () => boolean }> {
  const running = feed.run();
  let over = false;
  const end = () => {
    over = true;
  };
  running.ended.then(end, end);
  await feed.scan();
  await ready(running);
  return { running, ended: () => over };
}

describe('Redis is away', () => {
  test('killed, and back with what its append-only file had', async () => {
    const { feed, server } = await feedWithRedis({ appendOnly: true });
    const { running, ended } = await streaming(feed);
    await server.kill();
    churn(feed);
    expect(await notReady(running)).toMatch(/^Redis: /);
    await server.start();
    await expectGoesOn(feed, running, ended);
  });

  test('killed, and back empty', async () => {
    const { feed, server } = await feedWithRedis({});
    const { running, ended } = await streaming(feed);
    await server.kill();
    churn(feed);
    await notReady(running);
    await server.start();
    await expectGoesOn(feed, running, ended);
  });

  test('stopped for longer than every time-out, and woken again', async () => {
    const { feed, server } = await feedWithRedis({});
    const { running, ended } = await streaming(feed);
    server.pause();
    churn(feed);
    expect(await notReady(running)).toMatch(/^Redis: the connection/);
    server.resume();
    await expectGoesOn(feed, running, ended);
  });

  test('behind a connection that leads nowhere: noticed within seconds, and over when it is', async () => {
    const server = await startRedis({});
    onTestFinished(() => server.stop());
    const proxy = await HalfOpenProxy.start({ host: '127.0.0.1', port: server.port });
    onTestFinished(() => proxy.stop());
    const feed = await startFeed({ redis: { server }, settings: { REDIS_URL: `redis://127.0.0.1:${proxy.port}` } });
    feed.pool.fill(300);
    const { running, ended } = await streaming(feed);
    await proxy.blackHole();
    churn(feed);
    const began = performance.now();
    await notReady(running);
    expect(performance.now() - began).toBeLessThan(18_000);
    proxy.cutAll();
    await proxy.pass();
    await expectGoesOn(feed, running, ended);
  });

  test('a service that starts meanwhile waits for it, with its reason in /readyz', async () => {
    const { feed, server } = await feedWithRedis({});
    await server.shutDown();
    const running = feed.run();
    await until('Redis among the reasons', () =>
      running.readiness.reasons().find((reason) => reason.startsWith('Redis: ')),
    );
    await server.start();
    await feed.scan();
    await feed.expectMirrorEqualsPool();
    await running.stop();
    expectKnownErrors(feed);
  });

  test('out of memory: an outage, not a crash; with room again it goes on', async () => {
    const { feed, server } = await feedWithRedis({ maxmemory: '200mb' });
    const { running, ended } = await streaming(feed);
    const { client } = feed.redis;
    await client.config('SET', 'maxmemory', '1mb');
    churn(feed);
    expect(await until('trouble', () => running.readiness.reasons()[0])).toMatch(/Redis is out of memory/);
    expect(server.running).toBe(true);
    await client.config('SET', 'maxmemory', '200mb');
    await expectGoesOn(feed, running, ended);
  });

  test('one that may throw keys away is loudly warned of', async () => {
    const { feed } = await feedWithRedis({ settings: { 'maxmemory-policy': 'allkeys-lru' } });
    const running = feed.run();
    await feed.scan();
    const warned = feed.logged.map((line) => JSON.parse(line)).find(({ msg }) => msg.includes('maxmemory-policy'));
    expect(warned).toMatchObject({ level: 'error', msg: expect.stringContaining('allkeys-lru') });
    await running.stop();
    expectKnownErrors(feed);
  });
});
