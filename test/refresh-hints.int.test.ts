/** What hints come to through the real services: lists that lag, floods, the guard, a scan in between. */
import type { Queue } from 'bullmq';
import { expect, onTestFinished, test } from 'vitest';
import { refresh } from '../services/cli/commands/refresh.ts';
import type { Hint, RefreshJob } from '../services/poller/hint.ts';
import { HintQueue } from '../services/poller/hint-queue.ts';
import { refreshQueue } from '../services/poller/refreshing.ts';
import { readHints } from '../shared/hint-record.ts';
import { closeQueue } from '../shared/queue.ts';
import { commandHere } from './command-here.ts';
import { type Feed, type FeedOptions, freshEmulator, redisOfFile, startFeed } from './feed.ts';
import { exactLists } from './requests.ts';
import { until } from './until.ts';

const redis = redisOfFile();

interface Hinted extends Feed {
  readonly hints: HintQueue;
  readonly queue: Queue<RefreshJob, unknown, string>;
}

let pools = 0;

/** Scanned once, then only hinted at. */
async function hinted(users: number, options: Partial<FeedOptions> = {}): Promise<Hinted> {
  // Announcements outlive their writers by half a minute: with one id for all, this poller would serve the last test's mirror too.
  const emulator = await freshEmulator({ pools: [{ id: `eu-west-1_Hints${pools++}` }] });
  const feed = await startFeed({ redis, emulator, ...options });
  for (let i = 0; i < users; i++) feed.pool.create({ username: `u${i}`, attributes: [['email', `u${i}@example.com`]] });
  feed.run();
  await feed.scan();
  feed.emulator.record.clear();
  const tag = await feed.tag();
  const queue = refreshQueue(tag, feed.redis);
  onTestFinished(() => closeQueue(queue));
  const hints = new HintQueue({ redis: feed.redis, tag, refreshes: queue, pollIntervalMs: 3_600_000 });
  return Object.assign(feed, { hints, queue });
}

const about = (name: string, more: Partial<Hint> = {}): Hint => ({
  by: 'username',
  name,
  sub: null,
  expect: 'change',
  since: null,
  source: 'http',
  ...more,
});
const subOf = (feed: Feed, username: string) =>
  feed.pool.get(username)?.Attributes?.find(({ Name }) => Name === 'sub')?.Value ?? '';
let states = '';
const idle = (feed: Hinted) =>
  until(
    'all hints to be followed',
    async () => {
      const counts = await feed.queue.getJobCounts('wait', 'active', 'delayed', 'waiting-children');
      states = JSON.stringify(counts);
      return Object.values(counts).every((count) => count === 0);
    },
    () => `${states} ${feed.logged.slice(-5).join('')}`,
    60_000,
  );
const mirrored = async (feed: Feed, username: string) =>
  (await feed.mirrorRows()).find((row) => row.username === username);

test('a user who is listed late, and one who is listed as before, are looked at again until they show', async () => {
  const feed = await hinted(20);
  feed.emulator.faults.set({ late: [{ forMs: 2_500 }], stale: [{ forMs: 2_500 }] });
  feed.pool.create({ username: 'late' });
  feed.pool.update('u3', { email: 'moved@example.com' });
  await feed.hints.add([about('late'), about('u3')]);
  await until('both', async () => {
    const [late, moved] = [await mirrored(feed, 'late'), await mirrored(feed, 'u3')];
    return late !== undefined && moved?.email === 'moved@example.com';
  });
  await idle(feed);
  expect(exactLists(feed.emulator)).toBeLessThanOrEqual(8);
  expect(feed.emulator.record.lookups).toEqual([]);
});

test('Invariant 4: a ghost is looked at again; a user hidden from every list is asked for by name and stays', async () => {
  const feed = await hinted(20);
  const gone = subOf(feed, 'u1');
  const hidden = subOf(feed, 'u2');
  feed.emulator.faults.set({ ghosts: [{ forMs: 1_500 }], missing: [{ users: ['u2'] }] });
  feed.pool.delete('u1');
  await feed.hints.add([about(gone, { by: 'sub', expect: 'delete' }), about(hidden, { by: 'sub', expect: 'delete' })]);
  await idle(feed);
  await until('the delete', async () => (await mirrored(feed, 'u1')) === undefined);
  expect(await mirrored(feed, 'u2')).toBeDefined();
  expect(feed.emulator.record.lookups).toEqual(expect.arrayContaining(['u1', 'u2']));
  const { sources } = await readHints(feed.redis, await feed.tag());
  expect(sources.http).toMatchObject({ received: 2, changed: 1, unchanged: 1 });
});

test('a flood of 100,000 hints for one user costs a handful of requests, and the last change arrives', {
  timeout: 120_000,
}, async () => {
  const feed = await hinted(20);
  // As POST /refresh reads them.
  const flooding = () => about('u5', { since: Date.now() - 5_000 });
  for (let i = 0; i < 100; i++) {
    feed.pool.update('u5', { email: `moved${i}@example.com` });
    // One long list, which is joined within itself, and single ones, which the queue joins.
    await feed.hints.add(Array.from({ length: 990 }, () => flooding()));
    await Promise.all(Array.from({ length: 10 }, () => feed.hints.add([flooding()])));
  }
  await idle(feed);
  await until('the last change', async () => (await mirrored(feed, 'u5'))?.email === 'moved99@example.com');
  expect(exactLists(feed.emulator)).toBeLessThan(12);
  const { sources } = await readHints(feed.redis, await feed.tag());
  expect(sources.http.received).toBe(100_000);
  expect(sources.http.doubled).toBeGreaterThan(99_900);
});

test('Invariant 7: a flood for 100,000 users keeps within the budget, does not starve the scan, and ends with it', {
  timeout: 120_000,
}, async () => {
  const rate = 40;
  const feed = await hinted(600, { settings: { REQUESTS_PER_SECOND: String(rate), POLL_INTERVAL: '8s' } });
  feed.pool.update('u7', { email: 'moved@example.com' });
  for (let i = 0; i < 100_000; i += 5_000)
    await feed.hints.add(Array.from({ length: 5_000 }, (_, n) => about(`u${i + n}`)));
  const waiting = await feed.queue.getJobCounts('wait', 'delayed');
  expect((waiting['wait'] ?? 0) + (waiting['delayed'] ?? 0)).toBeLessThanOrEqual(10_000);
  const began = performance.now();
  const scan = await feed.scan();
  expect(scan).toMatchObject({ complete: true, users: 600 });
  // Ten pages at 0.7 of the budget, and its begin and end.
  expect(performance.now() - began).toBeLessThan(20_000);
  await feed.expectMirrorEqualsPool();
  // What was hinted at before a complete scan began is settled by it.
  await idle(feed);
  expect(feed.emulator.record.peakLists()).toBeLessThanOrEqual(rate);
  const { sources } = await readHints(feed.redis, await feed.tag());
  expect(sources.http.received).toBe(100_000);
  expect(sources.http.ignored).toBeGreaterThan(95_000);
});

test('Invariant 4: refreshes and the next scan together delete no more than the guard allows a scan', async () => {
  const feed = await hinted(200);
  // Allowed: 50, and 10 % of 200; past both at 51.
  const subs = Array.from({ length: 80 }, (_, i) => subOf(feed, `u${i}`));
  for (let i = 0; i < 80; i++) feed.pool.delete(`u${i}`);
  await feed.hints.add(subs.slice(0, 60).map((sub) => about(sub, { by: 'sub', expect: 'delete' })));
  await idle(feed);
  const left = async () => (await feed.mirrorRows()).length;
  await until('the deletes', async () => (await left()) === 150);
  const held = () => feed.query<{ reason: string }>('select reason from cognito_feed.held_deletes');
  await until('the others to be held', async () => (await held()).length === 10);
  expect(feed.emulator.record.lookups.length).toBe(50);
  const asked = await commandHere(feed, refresh, { sub: [subs[70]] });
  expect(asked).toMatchObject({ code: 1, stdout: expect.stringMatching(/: held \(.*guard/) });

  // The scan would miss 30, which alone it would delete.
  expect(await feed.scan()).toMatchObject({ complete: true, deleted: 0 });
  expect(await left()).toBe(150);
  expect((await held()).length).toBe(30);
  // And the one after it counts only its own.
  expect(await feed.scan()).toMatchObject({ complete: true, deleted: 30 });
  await feed.expectMirrorEqualsPool();
});

test('a hint that comes while its user is being looked at causes another look', async () => {
  const feed = await hinted(20);
  feed.emulator.faults.set({ latency: { ms: 600, jitterMs: 0 } });
  await feed.hints.add([about('u4')]);
  // The answer to the first look is made after half of its latency: the change comes after it.
  await until('the look', () => feed.emulator.record.underWay > 0);
  await new Promise((resolve) => setTimeout(resolve, 450));
  feed.pool.update('u4', { email: 'moved@example.com' });
  await feed.hints.add([about('u4')]);
  await until('the change', async () => (await mirrored(feed, 'u4'))?.email === 'moved@example.com');
});

test('without AdminGetUser a refresh deletes nobody', async () => {
  const feed = await hinted(20, { settings: { CONFIRM_WITH_ADMIN_GET_USER: 'false' } });
  const sub = subOf(feed, 'u1');
  feed.pool.delete('u1');
  const asked = await commandHere(feed, refresh, { sub: [sub] });
  expect(asked).toMatchObject({ code: 1, stdout: expect.stringContaining('held (without AdminGetUser') });
  expect(await mirrored(feed, 'u1')).toBeDefined();
});
