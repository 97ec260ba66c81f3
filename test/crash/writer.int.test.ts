/** Invariants 3 and 6 where a writer dies: between any two of its steps. ARCHITECTURE.md, "A batch, step by step", has their order. */
import { describe, expect, test } from 'vitest';
import { redisOfFile } from '../feed.ts';
import type { CrashPoint } from './points.ts';
import { completeScan, setScene, TAKEOVER_MS, writingGoesOn } from './scene.ts';
import { startVictim } from './victim.ts';

const redis = redisOfFile();

describe.each([
  'writer: the COPY is done',
  'writer: before COMMIT',
  'writer: COMMIT is sent, its answer not there',
  'writer: committed, the snapshot not advanced',
  'writer: the snapshot is advanced, the job not acknowledged',
  'writer: the keepalive is committed, not acknowledged',
] as const satisfies readonly CrashPoint[])('invariants 3 and 6: a writer dies. %s', (point) => {
  test('another one goes on, and each change is made once', async () => {
    const scene = await setScene(redis, 300);
    const { feed } = scene;
    await feed.sync();
    scene.change(60);
    const victim = startVictim('writer', feed.env, point);
    const poller = feed.runPoller();
    const died = await victim.died;
    scene.change(5);
    const goesOn = writingGoesOn(feed, died);
    const heir = feed.runWriter();
    expect(await goesOn).toBeLessThan(TAKEOVER_MS);
    await completeScan(feed);
    await poller.stop();
    await heir.stop();
    await scene.expectWell();
  });
});
