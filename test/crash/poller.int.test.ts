/** Invariants 3, 4 and 6 where a poller dies: between any two things that it tells others. */
import { describe, expect, test } from 'vitest';
import { queues } from '../../shared/keys.ts';
import { readScans } from '../../shared/scan-record.ts';
import { redisOfFile } from '../feed.ts';
import { until } from '../until.ts';
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

test('invariant 6: what a shard came to is not forgotten when it is added anew, and as_of stays', async () => {
  const scene = await setScene(redis, 10);
  const { feed } = scene;
  await feed.sync();
  scene.fill(100);
  const first = feed.runWriter();
  const victim = startVictim('poller', feed.env, 'poller: the shards are added, the step not noted');
  await victim.died;
  await first.stop();
  // Its shard is walked at once, its scan is taken over later. Meanwhile the batch becomes unreadable.
  const heir = feed.runPoller();
  const tag = await feed.tag();
  const batch = await until('the batch', async () =>
    (await feed.redis.client.lrange(`${tag}:${queues.changes}:wait`, 0, -1)).find((id) => /\.100\.\d+$/.test(id)),
  );
  await feed.redis.client.hset(`${tag}:${queues.changes}:${batch}`, 'data', '{"v":1}');
  const writer = feed.runWriter();
  const { last } = await until('the end of the scan', async () => {
    const record = await readScans(feed.redis, tag);
    return record.last !== null && record.last.users === 110 ? record : undefined;
  });
  expect(last).toMatchObject({ complete: false });
  await completeScan(feed);
  await heir.stop();
  await writer.stop();
  await scene.expectWell();
});
