/** Invariants 3 and 6 where a writer dies while it rebuilds the snapshot. ARCHITECTURE.md, "Resync", has the steps. */
import { describe, expect, test } from 'vitest';
import { redisOfFile } from '../feed.ts';
import type { CrashPoint } from './points.ts';
import { completeScan, setScene, TAKEOVER_MS, writingGoesOn } from './scene.ts';
import { startVictim } from './victim.ts';

const redis = redisOfFile();

describe.each([
  ['resync: a new timeline has begun', 1],
  // 5,000 users are loaded in three pieces.
  ['resync: the snapshot is being loaded', 2],
  ['resync: the pointer is written, the switch not committed', 1],
  ['resync: the switch is committed, old generations not collected', 1],
] as const satisfies readonly (readonly [CrashPoint, number])[])(
  'invariants 3 and 6: a writer dies. %s',
  (point, hit) => {
    test('another one finishes the resync, and no user that stayed sees a change', async () => {
      const scene = await setScene(redis, 5_000);
      const { feed } = scene;
      await feed.sync();
      const before = await feed.slot();
      await feed.redis.client.flushall();
      // Deleted while the state is lost: deleted from the mirror all the same.
      scene.change(60);
      const victim = startVictim('writer', feed.env, point, hit);
      const died = await victim.died;
      const goesOn = writingGoesOn(feed, died);
      const heir = feed.runWriter();
      const poller = feed.runPoller();
      expect(await goesOn).toBeLessThan(TAKEOVER_MS);
      await completeScan(feed);
      await poller.stop();
      await heir.stop();
      expect((await feed.slot()).timeline).not.toBe(before.timeline);
      await scene.expectWell();
    });
  },
);
