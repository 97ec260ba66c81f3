/** Invariants 3, 4 and 6 where a poller dies: between any two things that it tells others. */
import { describe, expect, test } from 'vitest';
import { redisOfFile } from '../feed.ts';
import type { CrashPoint } from './points.ts';
import { completeScan, pollingGoesOn, setScene, TAKEOVER_MS } from './scene.ts';
import { startVictim } from './victim.ts';

const redis = redisOfFile();

describe.each([
  ['poller: the job is added', 1],
  // At its second hit the first batch has been noted, and the chain goes on from a token.
  ['poller: the batch is queued, its token not noted', 2],
  ['poller: the proof is there, the delete not queued', 1],
  ['poller: the scan is recorded, its job not added', 1],
  ['poller: the shards are added, the step not noted', 1],
  ['poller: the keepalive is asked for, the step not noted', 1],
] as const satisfies readonly (readonly [CrashPoint, number])[])(
  'invariants 3, 4 and 6: a poller dies. %s',
  (point, hit) => {
    test('another one goes on, and each change is made once', async () => {
      const scene = await setScene(redis, 300);
      const { feed } = scene;
      await feed.sync();
      scene.change(60);
      // Enough for several batches.
      scene.fill(3_000);
      const victim = startVictim('poller', feed.env, point, hit);
      const writer = feed.runWriter();
      const died = await victim.died;
      scene.change(5);
      const goesOn = pollingGoesOn(feed, died);
      const heir = feed.runPoller();
      expect(await goesOn).toBeLessThan(TAKEOVER_MS);
      await completeScan(feed);
      await heir.stop();
      await writer.stop();
      await scene.expectWell();
    });
  },
);
