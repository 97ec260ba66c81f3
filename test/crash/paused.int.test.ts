/**
 * Invariants 3, 5 and 6 where a replica is stopped (SIGSTOP, a frozen container) and wakes up long after another one has taken its work over:
 * nothing that it still says counts.
 */
import { describe, expect, test } from 'vitest';
import { readScans } from '../../shared/scan-record.ts';
import { redisOfFile } from '../feed.ts';
import { until } from '../until.ts';
import type { CrashPoint } from './points.ts';
import { completeScan, setScene } from './scene.ts';
import { startStoppedVictim } from './victim.ts';

const redis = redisOfFile();
/** A waiter looks after 5 s who holds the slot, and the job comes back after 12 s. */
const TAKEOVER_MS = 30_000;

describe.each([
  'writer: the COPY is done',
  'writer: before COMMIT',
  'writer: committed, the snapshot not advanced',
  'writer: the snapshot is advanced, the job not acknowledged',
] as const satisfies readonly CrashPoint[])('invariants 3, 5 and 6: a writer is stopped. %s', (point) => {
  test('another one goes on, and what the first one does when it wakes up counts for nothing', async () => {
    const scene = await setScene(redis, 300);
    const { feed } = scene;
    await feed.sync();
    scene.change(60);
    const victim = startStoppedVictim('writer', feed.env, point);
    const poller = feed.runPoller();
    const stopped = await victim.stopped;
    scene.change(5);
    const heir = feed.runWriter();
    await completeScan(feed);
    expect(performance.now() - stopped).toBeLessThan(TAKEOVER_MS);
    const before = await feed.slot();
    victim.wakeUp();
    // Both serve the queue now.
    scene.change(30);
    await completeScan(feed);
    await completeScan(feed);
    expect((await feed.slot()).timeline).toBe(before.timeline);
    await poller.stop();
    await heir.stop();
    await scene.expectWell();
  });
});

describe.each([
  'resync: the snapshot is being loaded',
  'resync: the pointer is about to be written',
  'resync: the pointer is written, the switch not committed',
] as const satisfies readonly CrashPoint[])('invariants 3, 5 and 6: a writer is stopped. %s', (point) => {
  test('another one finishes the resync, and the first one spoils nothing when it wakes up', async () => {
    const scene = await setScene(redis, 300);
    const { feed } = scene;
    await feed.sync();
    await feed.redis.client.flushall();
    scene.change(60);
    const victim = startStoppedVictim('writer', feed.env, point);
    await victim.stopped;
    const heir = feed.runWriter();
    const poller = feed.runPoller();
    await completeScan(feed);
    victim.wakeUp();
    scene.change(30);
    await completeScan(feed);
    await completeScan(feed);
    await poller.stop();
    await heir.stop();
    await scene.expectWell();
  });
});

describe.each([
  'poller: the batch is queued, its token not noted',
  'poller: the proof is there, the delete not queued',
  'poller: it looks who is missing',
] as const satisfies readonly CrashPoint[])('invariants 3, 4 and 7: a poller is stopped. %s', (point) => {
  test('another one goes on, and the first one does no harm and no work of its own when it wakes up', async () => {
    const scene = await setScene(redis, 300);
    const { feed } = scene;
    await feed.sync();
    scene.change(60);
    scene.fill(3_000);
    const victim = startStoppedVictim('poller', feed.env, point);
    const writer = feed.runWriter();
    await victim.stopped;
    const heir = feed.runPoller();
    await completeScan(feed);
    const looks = () => feed.emulator.record.lists.filter(({ filter }) => filter?.startsWith('sub =')).length;
    const before = looks();
    victim.wakeUp();
    await completeScan(feed);
    scene.change(20);
    await completeScan(feed);
    await completeScan(feed);
    // Whom the ended scan had seen is forgotten: not everybody is missing because of that.
    expect(looks() - before).toBeLessThan(50);
    await heir.stop();
    await writer.stop();
    await scene.expectWell();
  });
});

test('a conductor that is stopped between its decision and its record spoils no scan of its heir', async () => {
  const scene = await setScene(redis, 300);
  const { feed } = scene;
  await feed.sync();
  scene.fill(3_000);
  const writer = feed.runWriter();
  const victim = startStoppedVictim('poller', feed.env, 'poller: a scan is due, not recorded');
  await victim.stopped;
  feed.emulator.faults.set({ latency: { ms: 100, jitterMs: 0 } });
  const heir = feed.runPoller();
  const tag = await feed.tag();
  const scan = await until('a scan of the heir', async () => (await readScans(feed.redis, tag)).current?.id);
  await until('its third page', () => feed.emulator.record.lists.filter(({ continued }) => continued).length > 2);
  victim.wakeUp();
  const { last } = await until('its end', async () => {
    const record = await readScans(feed.redis, tag);
    return record.current?.id !== scan && record.last !== null && record.last.users > 300 ? record : undefined;
  });
  expect(last).toMatchObject({ scan, complete: true });
  await heir.stop();
  await writer.stop();
});
