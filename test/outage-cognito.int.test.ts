/** Cognito throttles, fails, answers nonsense or nothing, refuses the credentials: the poller waits with back-off, says so, and goes on by itself. */
import { describe, expect, test } from 'vitest';
import type { FaultPatch } from './emulator/faults.ts';
import { type Feed, type Running, redisOfFile, startFeed } from './feed.ts';
import { until } from './until.ts';

const redis = redisOfFile();
const USERS = 600;

async function streaming(settings: Record<string, string> = {}): Promise<{ feed: Feed; running: Running }> {
  const feed = await startFeed({ redis, settings });
  feed.pool.fill(USERS);
  const running = feed.run();
  await feed.scan();
  return { feed, running };
}

const requests = (feed: Feed): number =>
  Object.values(feed.emulator.record.requests).reduce((sum, count) => sum + count, 0);
const reason = (running: Running, pattern: RegExp) =>
  until(
    `${pattern} among the reasons`,
    () => running.readiness.reasons().find((line) => pattern.test(line)),
    () => running.readiness.reasons().join('\n'),
  );
/** Every failure on the way stands in the error table. */
const expectKnownErrors = (feed: Feed): void =>
  expect(feed.logged.filter((line) => line.includes('"kind":"unknown"'))).toEqual([]);

const ready = (running: Running) => until('readiness', () => running.readiness.reasons().length === 0);

describe('a scan outlives', () => {
  test.for<[string, FaultPatch]>([
    ['throttling of most requests', { failures: [{ kind: 'error', error: 'TooManyRequestsException', rate: 0.6 }] }],
    ['internal errors', { failures: [{ kind: 'error', error: 'InternalErrorException', rate: 0.4 }] }],
    ["a proxy's pages", { failures: [{ kind: 'html', rate: 0.4 }] }],
    [
      'connections that are dropped before and in the middle of an answer',
      {
        failures: [
          { kind: 'drop-before', rate: 0.2 },
          { kind: 'drop-middle', rate: 0.2 },
        ],
      },
    ],
  ])('%s', async ([, faults]) => {
    const { feed, running } = await streaming();
    feed.emulator.faults.set(faults);
    const [gone, changed] = feed.poolRows();
    feed.pool.delete(gone?.username ?? '');
    feed.pool.update(changed?.username ?? '', { given_name: 'changed' });
    expect(await feed.scan()).toMatchObject({ complete: true, deleted: 1, updated: 1 });
    await feed.expectMirrorEqualsPool();
    await running.stop();
    expectKnownErrors(feed);
  });

  test('a request that is never answered', async () => {
    const { feed, running } = await streaming();
    feed.emulator.faults.set({ failures: [{ kind: 'hang', operations: ['ListUsers'], skip: 3, times: 1 }] });
    expect(await feed.scan()).toMatchObject({ complete: true, deleted: 0 });
    await feed.expectMirrorEqualsPool();
    await running.stop();
    expectKnownErrors(feed);
  });
});

describe('an outage', () => {
  test('is asked after ever more rarely, stands in /readyz, is logged once, and is over when Cognito answers', async () => {
    const { feed, running } = await streaming({ POLL_INTERVAL: '100ms' });
    feed.emulator.faults.set({
      failures: [{ kind: 'error', error: 'InternalErrorException', operations: ['ListUsers'] }],
    });
    expect(await reason(running, /AWS has trouble/)).toMatch(
      /^poller of .*could not read the pool: AWS has trouble of its own/,
    );
    const before = requests(feed);
    // Time is what is shown: at 1,000 requests a second a hammering poller would send thousands.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(requests(feed) - before).toBeLessThan(15);
    expect(feed.logged.filter((line) => line.includes('could not read the pool: AWS has trouble'))).toHaveLength(1);
    feed.emulator.faults.reset();
    feed.pool.create({ username: 'after' });
    await feed.scan();
    await ready(running);
    await feed.expectMirrorEqualsPool();
    await running.stop();
    expectKnownErrors(feed);
  });

  test.for([
    ['UnrecognizedClientException', /AWS does not accept the credentials/],
    ['ExpiredTokenException', /AWS does not accept the credentials/],
    ['AccessDeniedException', /IAM does not allow the request/],
    ['ResourceNotFoundException', /AWS knows no such pool/],
  ] as const)(
    '%s ends the scan, not the service: a clear reason, no hammering, no delete',
    async ([error, wording]) => {
      const { feed, running } = await streaming({ POLL_INTERVAL: '500ms' });
      feed.emulator.faults.set({ failures: [{ kind: 'error', error }] });
      expect(await reason(running, wording)).toContain('poller of');
      const before = requests(feed);
      const last = await feed.scan();
      expect(last).toMatchObject({ complete: false, reason: expect.stringMatching(wording) });
      await feed.scan();
      expect(requests(feed) - before).toBeLessThan(20);
      expect(feed.logged.filter((line) => wording.test(line) && line.includes('could not scan the pool'))).toHaveLength(
        1,
      );
      feed.emulator.faults.reset();
      expect(await feed.scan()).toMatchObject({ complete: true, deleted: 0 });
      await ready(running);
      await running.stop();
      expectKnownErrors(feed);
    },
  );
});
