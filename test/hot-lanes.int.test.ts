/** Hot lanes: sign-ups and confirmations arrive with no hint from anybody. Scaled down in time and users from DESIGN's case. */
import { expect, test } from 'vitest';
import { status } from '../services/cli/commands/status.ts';
import { readHints } from '../shared/hint-record.ts';
import { commandHere } from './command-here.ts';
import { type Feed, freshEmulator, redisOfFile, startFeed } from './feed.ts';
import { until } from './until.ts';

const redis = redisOfFile();
let pools = 0;

async function started(settings: Record<string, string>, fill: (feed: Feed) => void): Promise<Feed> {
  const emulator = await freshEmulator({ pools: [{ id: `eu-west-1_Lanes${pools++}` }] });
  const feed = await startFeed({ redis, emulator, settings });
  fill(feed);
  feed.run();
  await feed.scan();
  return feed;
}

const confirmed = (feed: Feed, users: number) =>
  feed.pool.load(Array.from({ length: users }, (_, i) => ({ username: `u${i}` })));
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const statusOf = async (feed: Feed, username: string) =>
  (await feed.query<{ status: string }>('select status from cognito.users where username = $1', [username]))[0]?.status;

test('sign-ups and confirmations are in the mirror within some HOT_INTERVALs, long before a scan, requests within the budget', {
  timeout: 120_000,
}, async () => {
  const hotIntervalMs = 1_000;
  const rate = 30;
  const feed = await started({ HOT_INTERVAL: '1s', REQUESTS_PER_SECOND: String(rate) }, (one) => confirmed(one, 5_000));
  feed.emulator.record.clear();
  // Three a second, as in the case that DESIGN gives; each confirms after four intervals, as there after 20 s.
  const waits: { what: string; ms: number }[] = [];
  const arrives = async (what: string, username: string, status: string) => {
    const from = performance.now();
    await until(
      what,
      async () => (await statusOf(feed, username)) === status,
      () => feed.logged.slice(-8).join(''),
    );
    waits.push({ what, ms: performance.now() - from });
  };
  const users = Array.from({ length: 45 }, async (_, i) => {
    await pause(i * 333);
    const username = `new${i}`;
    feed.pool.create({ username, status: 'UNCONFIRMED' });
    const signedUp = arrives('a sign-up', username, 'UNCONFIRMED');
    await pause(4 * hotIntervalMs);
    await signedUp;
    feed.pool.setStatus(username, 'CONFIRMED');
    await arrives('a confirmation', username, 'CONFIRMED');
  });
  // A scan goes on beside them.
  const scans = [pause(4_000).then(() => feed.scan()), pause(9_000).then(() => feed.scan())];
  await Promise.all([...users, ...scans]);
  for (const what of ['a sign-up', 'a confirmation']) {
    const sorted = waits
      .filter((one) => one.what === what)
      .map(({ ms }) => ms)
      .toSorted((a, b) => a - b);
    const p95 = sorted[Math.ceil(sorted.length * 0.95) - 1] ?? Number.POSITIVE_INFINITY;
    // Twice the interval on a machine of its own; the machines that tests run on are shared, and a scan would take far longer.
    expect(p95, `${what}: ${sorted.map(Math.round).join(' ')}`).toBeLessThan(6 * hotIntervalMs);
  }
  expect(feed.emulator.record.peakLists()).toBeLessThanOrEqual(rate);
  await feed.expectMirrorEqualsPool();
  const { sources, latency } = await readHints(feed.redis, await feed.tag());
  // All but those that one of the scans beside them was quicker with.
  expect(sources.lane.changed).toBeGreaterThanOrEqual(75);
  expect(latency.count).toBeGreaterThanOrEqual(75);
  // Most of them within 2 s, by the recorder's own reckoning.
  expect((latency.within[2] ?? 0) / latency.count).toBeGreaterThan(0.5);
});

test('a lane of more than a few pages is given up for the round, and says so; the others go on', async () => {
  const feed = await started({ HOT_INTERVAL: '200ms' }, (one) => {
    confirmed(one, 100);
    one.pool.load(
      Array.from({ length: 400 }, (_, i) => ({ username: `imported${i}`, status: 'FORCE_CHANGE_PASSWORD' })),
    );
  });
  feed.emulator.record.clear();
  const tag = await feed.tag();
  const lanes = await until('all lanes to be walked', async () => {
    const record = await readHints(feed.redis, tag);
    return record.lanes.length === 3 ? record.lanes : undefined;
  });
  const by = Object.fromEntries(lanes.map(({ status, givenUp }) => [status, givenUp]));
  expect(by).toEqual({
    UNCONFIRMED: null,
    RESET_REQUIRED: null,
    FORCE_CHANGE_PASSWORD: expect.stringContaining('more than 3 pages'),
  });
  const { stdout } = await commandHere(feed, status, { json: true });
  expect(JSON.parse(stdout).pools[0].warnings).toEqual([
    expect.stringContaining('the hot lane FORCE_CHANGE_PASSWORD is given up for now'),
  ]);
  const walked = (lane: string) => feed.emulator.record.lists.filter(({ filter }) => filter?.includes(lane)).length;
  await until('twelve rounds', () => walked('UNCONFIRMED') >= 12);
  // Three pages each time, and twice as long apart each time: else it would be three times as many.
  expect(walked('FORCE_CHANGE_PASSWORD')).toBeLessThan(2 * walked('UNCONFIRMED'));
});

test('a user who leaves a lane by being deleted is proved gone and deleted', async () => {
  const feed = await started({ HOT_INTERVAL: '200ms' }, (one) => confirmed(one, 20));
  feed.pool.create({ username: 'guest', status: 'UNCONFIRMED' });
  await until('the sign-up', async () => (await statusOf(feed, 'guest')) === 'UNCONFIRMED');
  await pause(500);
  feed.pool.delete('guest');
  await until(
    'the delete',
    async () => (await statusOf(feed, 'guest')) === undefined,
    () => '',
    50_000,
  );
  expect(feed.emulator.record.lookups).toEqual(['guest']);
});
