/** CONTRACT, "Commands": how the processes end in the middle of work. */
import { expect, test } from 'vitest';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { elapsed, type FeedProcess, spawnFeed } from './feed-process.ts';

const redis = redisOfFile();
const USERS = 3_000;
const CLEAN = { code: 0, signal: null };

/** A pool whose pages take their time: the initial copy lasts several seconds. */
async function slowFeed(): Promise<Feed> {
  const feed = await startFeed({ redis, settings: { POLL_INTERVAL: '100ms', LOG_LEVEL: 'info' } });
  feed.pool.fill(USERS);
  feed.emulator.faults.set({ latency: { ms: 100, jitterMs: 20 } });
  return feed;
}

const copied = async (feed: Feed) =>
  (await feed.query<{ n: number }>('select count(*)::int as n from cognito.users'))[0]?.n ?? 0;
const midCopy = (feed: Feed, service: FeedProcess) =>
  service.until('the middle of the initial copy', async () => (await copied(feed)) > 0);

type Way = readonly [what: string, through: 'node' | 'npm', send: (service: FeedProcess) => void];

const WAYS: readonly Way[] = [
  ['SIGTERM to node', 'node', (service) => service.signal('SIGTERM')],
  ['SIGINT to npm', 'npm', (service) => service.signal('SIGINT')],
  ["SIGTERM to npm's whole group, which node gets twice", 'npm', (service) => service.signalGroup('SIGTERM')],
  ["SIGINT to npm's whole group, as by Ctrl-C", 'npm', (service) => service.signalGroup('SIGINT')],
];

test.for(WAYS)(
  '%s in the middle of an initial copy: exit 0 within 10 s, and the next start goes on',
  async ([, through, send]) => {
    const feed = await slowFeed();
    const service = spawnFeed(['run'], feed.env, { through });
    await midCopy(feed, service);
    const { ms, ...end } = await service.endAfter(() => send(service));
    expect(end, service.stderr).toEqual(CLEAN);
    expect(ms).toBeLessThan(10_000);
    const had = await copied(feed);
    expect(had).toBeLessThan(USERS);

    feed.emulator.faults.reset();
    const next = await feed.sync();
    expect(next).toMatchObject({ code: 0 });
    await feed.expectMirrorEqualsPool();
    // What was there was not copied again.
    expect(
      await feed.query('select count(*)::int as n, count(distinct username)::int as users from cognito_feed.changes'),
    ).toEqual([{ n: USERS, users: USERS }]);
  },
);

test.for(['poller', 'writer', 'sync'] as const)(
  '%s alone ends likewise in the middle of an initial copy',
  async (command) => {
    const feed = await slowFeed();
    const others = command === 'poller' ? [feed.runWriter()] : command === 'writer' ? [feed.runPoller()] : [];
    const service = spawnFeed([command], feed.env);
    await midCopy(feed, service);
    const { ms, code } = await service.endAfter(() => service.signal('SIGTERM'));
    expect(code, service.stderr).toBe(0);
    expect(ms).toBeLessThan(10_000);
    await Promise.all(others.map((other) => other.stop()));
    feed.emulator.faults.reset();
    expect(await feed.sync()).toMatchObject({ code: 0 });
    await feed.expectMirrorEqualsPool();
  },
);

test('a second signal more than a second after the first exits at once', async () => {
  const feed = await slowFeed();
  const service = spawnFeed(['run'], feed.env);
  await midCopy(feed, service);
  // Somebody's own session holds the slot, so the batch under way can't be finished.
  const holder = await feed.postgres.connect();
  await holder.query('begin; select from cognito_feed.slots for update');
  await service.until('the batch to wait', async () => {
    const waiting = await feed.query(
      `select from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'cognito-feed writer'`,
    );
    return waiting.length > 0;
  });
  service.signal('SIGTERM');
  await service.until('the first to be heard', () => service.stderr.includes('stopping'));
  await elapsed(1_200);
  const { code, ms } = await service.endAfter(() => service.signal('SIGTERM'));
  holder.release(true);
  expect(code).toBe(143);
  expect(ms).toBeLessThan(1_000);
});
