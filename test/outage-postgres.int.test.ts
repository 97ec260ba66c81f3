/** Postgres away: killed, stopped, behind a connection that leads nowhere. The feed waits, within its limits, and goes on by itself. */
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { queues } from '../shared/keys.ts';
import { closeQueue, createQueue, queueLoad } from '../shared/queue.ts';
import { createRedisClient } from '../shared/redis.ts';
import { HalfOpenProxy } from './emulator/half-open-proxy.ts';
import { type Feed, type Running, redisOfFile, startFeed } from './feed.ts';
import { freshDatabase } from './fresh-database.ts';
import { type PostgresServer, startPostgres } from './servers/postgres.ts';
import { until } from './until.ts';

const redis = redisOfFile();
let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres({ major: 18 });
});
/** A test that failed half-way leaves it up for the next one. */
afterEach(async () => {
  server.resume();
  if (!server.running) await server.start();
});
afterAll(() => server?.stop());

/** Every failure on the way stands in the error table. */
const expectKnownErrors = (feed: Feed): void =>
  expect(feed.logged.filter((line) => line.includes('"kind":"unknown"'))).toEqual([]);

const ready = (running: Running) => until('readiness', () => running.readiness.reasons().length === 0);
const notReady = (running: Running) => until('a reason not to be ready', () => running.readiness.reasons()[0]);

/** Samples what waits in the queue until the test has finished. */
async function watchQueue(feed: Feed) {
  const client = createRedisClient({ url: redis.server.url, ca: null });
  const queue = createQueue(queues.changes, await feed.tag(), client);
  const seen = { most: 0, last: 0 };
  const timer = setInterval(async () => {
    seen.last = await queueLoad(queue).then(
      ({ changes }) => changes,
      () => seen.last,
    );
    seen.most = Math.max(seen.most, seen.last);
  }, 20);
  onTestFinished(async () => {
    clearInterval(timer);
    await closeQueue(queue);
    client.disconnect();
  });
  return seen;
}

describe('Postgres is away', () => {
  test('Invariant 7: killed in the middle of the initial copy: the queue fills to its limit and no further, the poller pauses, all goes on', async () => {
    const feed = await startFeed({
      redis,
      postgres: server.url(),
      settings: { MAX_QUEUED_CHANGES: '1200', POLL_INTERVAL: '200ms' },
    });
    feed.pool.fill(4_000);
    feed.emulator.faults.set({ latency: { ms: 20, jitterMs: 10 } });
    const running = feed.run();
    await until('some of the copy', async () => (await feed.slot().catch(() => undefined))?.users || undefined);
    const queued = await watchQueue(feed);
    await server.kill();
    await until('the poller to hold back', () => feed.logged.some((line) => line.includes('holding back')));
    expect(await notReady(running)).toMatch(/^writer of .*Postgres|nothing answers there/);
    const asked = feed.emulator.record.requests['ListUsers'] ?? 0;
    // Longer than any of its waits.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    // The next page is fetched while one is compared.
    expect(feed.emulator.record.requests['ListUsers']).toBeLessThanOrEqual(asked + 1);
    expect(queued.last).toBeGreaterThanOrEqual(1_000);
    await server.start();
    await until('the end of the copy', async () => (await feed.slot()).state === 'streaming', undefined, 60_000);
    await feed.expectMirrorEqualsPool();
    expect(queued.most).toBeLessThanOrEqual(1_200);
    expect(
      await feed.query(`select count(*)::int as all, count(distinct username)::int as each from cognito_feed.changes`),
    ).toEqual([{ all: 4_000, each: 4_000 }]);
    await ready(running);
    await running.stop();
    expectKnownErrors(feed);
  }, 120_000);

  test('stopped and woken again: nothing is lost, nothing comes twice', async () => {
    const feed = await startFeed({ redis, postgres: server.url() });
    feed.pool.fill(200);
    const running = feed.run();
    await feed.scan();
    server.pause();
    for (const { username } of feed.poolRows().slice(0, 50)) feed.pool.update(username, { given_name: 'meanwhile' });
    await notReady(running);
    server.resume();
    await feed.scan();
    await feed.expectMirrorEqualsPool();
    expect(await feed.query(`select count(*)::int as count from cognito_feed.changes where op = 'update'`)).toEqual([
      { count: 50 },
    ]);
    await ready(running);
    await running.stop();
    expectKnownErrors(feed);
  });

  test('behind a connection that leads nowhere: noticed within seconds, and over when it is', async () => {
    const proxy = await HalfOpenProxy.start({ host: '127.0.0.1', port: server.port });
    onTestFinished(() => proxy.stop());
    const database = await freshDatabase(server.url());
    const url = new URL(database.url);
    url.port = String(proxy.port);
    const feed = await startFeed({ redis, database, settings: { DATABASE_URL: url.href } });
    feed.pool.fill(200);
    const running = feed.run();
    await feed.scan();
    await proxy.blackHole();
    const began = performance.now();
    await notReady(running);
    expect(performance.now() - began).toBeLessThan(15_000);
    for (const { username } of feed.poolRows().slice(0, 50)) feed.pool.update(username, { given_name: 'meanwhile' });
    const scan = feed.scan();
    proxy.cutAll();
    await proxy.pass();
    expect(await scan).toMatchObject({ complete: true });
    await feed.expectMirrorEqualsPool();
    await ready(running);
    await running.stop();
    expectKnownErrors(feed);
  });

  test('a service that starts meanwhile waits for it, with its reason in /readyz', async () => {
    const feed = await startFeed({ redis, postgres: server.url() });
    feed.pool.fill(100);
    await server.shutDown();
    const running = feed.run();
    await until('the writer to say so', () =>
      running.readiness.reasons().find((reason) => reason.startsWith('writer of')),
    );
    await server.start();
    await feed.scan();
    await feed.expectMirrorEqualsPool();
    await ready(running);
    await running.stop();
    expectKnownErrors(feed);
  });
});
