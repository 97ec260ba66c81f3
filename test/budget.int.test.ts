/** Invariant 7, the request rate: the budget over a real Redis, with scans and refreshes after the same places. */
import { setMaxListeners } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { Budget, type Purpose } from '../services/poller/budget.ts';
import { createRedisClient, Redis } from '../shared/redis.ts';
import { redisOfFile } from './feed.ts';

const redis = redisOfFile();

interface Taken {
  readonly purpose: Purpose;
  readonly at: number;
  readonly waitedMs: number;
}

let regions = 0;

class Takers {
  readonly taken: Taken[] = [];
  readonly #budget: Budget;
  readonly #stop = new AbortController();
  readonly #loops: Promise<void>[] = [];

  constructor(requestsPerSecond: number) {
    const client = createRedisClient({ url: redis.server.url, ca: null });
    onTestFinished(() => client.disconnect());
    setMaxListeners(0, this.#stop.signal);
    this.#budget = new Budget(new Redis(client), `region-${regions++}`, requestsPerSecond);
  }

  async one(purpose: Purpose): Promise<Taken> {
    const asked = performance.now();
    await this.#budget.take(purpose, this.#stop.signal);
    const at = performance.now();
    const taken = { purpose, at, waitedMs: at - asked };
    this.taken.push(taken);
    return taken;
  }

  /** So many that take one place after the other until the end. */
  greedy(purpose: Purpose, count: number): void {
    for (let i = 0; i < count; i++) this.#loops.push(this.#loop(purpose));
  }

  async #loop(purpose: Purpose): Promise<void> {
    while (!this.#stop.signal.aborted) await this.one(purpose).catch(() => undefined);
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
  }

  count(purpose: Purpose, from = 0): number {
    return this.taken.filter((one) => one.purpose === purpose && one.at >= from).length;
  }

  /** The most in any second. */
  peak(): number {
    const times = this.taken.map(({ at }) => at).toSorted((a, b) => a - b);
    return Math.max(...times.map((from, i) => times.slice(i).filter((at) => at < from + 1_000).length));
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('a flood of refreshes neither exceeds the budget nor starves a scan, nor a scan the refreshes', {
  retry: 0,
}, async () => {
  const takers = new Takers(50);
  takers.greedy('refresh', 24);
  // For a while everything is theirs.
  await pause(2_000);
  expect(takers.count('refresh')).toBeGreaterThan(80);
  // Then two replicas' shards begin to scan.
  takers.greedy('scan', 8);
  const began = performance.now();
  await pause(4_000);
  await takers.end();
  expect(takers.peak()).toBeLessThanOrEqual(50);
  const [scans, refreshes] = [takers.count('scan', began), takers.count('refresh', began)];
  // 0.7 and 0.3 of 194 places; the first second is the changeover.
  expect(scans).toBeGreaterThan(105);
  expect(refreshes).toBeGreaterThan(30);
  expect(scans + refreshes).toBeGreaterThan(160);
});

test('what no refresh wants is lent to the scan', async () => {
  const takers = new Takers(50);
  takers.greedy('scan', 8);
  await pause(3_000);
  await takers.end();
  expect(takers.count('scan')).toBeGreaterThan(125);
  expect(takers.peak()).toBeLessThanOrEqual(50);
});

test('a scan of many shards delays a refresh by no more than a few places', async () => {
  const takers = new Takers(20);
  takers.greedy('scan', 32);
  await pause(1_000);
  const waits: number[] = [];
  for (let i = 0; i < 10; i++) {
    waits.push((await takers.one('refresh')).waitedMs);
    // Apart by more than the slice: this one never queues behind another refresh.
    await pause(250);
  }
  await takers.end();
  waits.sort((a, b) => a - b);
  // A place is 51 ms; three are booked, and one may be let go for having come late.
  expect(waits[5]).toBeLessThan(15 * 51);
  expect(waits[9]).toBeLessThan(27 * 51);
});

test('having had everything to themselves is not held against refreshes when a scan begins', async () => {
  const takers = new Takers(50);
  takers.greedy('refresh', 8);
  await pause(3_000);
  takers.greedy('scan', 8);
  await pause(500);
  const from = performance.now();
  await pause(1_500);
  await takers.end();
  expect(takers.count('refresh', from)).toBeGreaterThan(10);
});

test('a scan that begins in the middle of a flood waits for no more than a few places', async () => {
  const takers = new Takers(20);
  takers.greedy('refresh', 64);
  await pause(1_500);
  const { waitedMs } = await takers.one('scan');
  await takers.end();
  expect(waitedMs).toBeLessThan(30 * 51);
});
