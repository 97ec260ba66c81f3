/** The clock that observations are stamped by, while Redis's host stands behind what it said before: after a failover, or when its time was set back. */
import { expect, test } from 'vitest';
import { observationTime } from '../shared/clock.ts';
import { keys } from '../shared/keys.ts';
import { redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();
const AHEAD_MS = 5 * 60_000;

test('each observation is later than the one before, though the host went back', async () => {
  const feed = await startFeed({ redis });
  const tag = await feed.tag();
  const before = await observationTime(feed.redis, tag);
  await feed.redis.client.set(keys.clock(tag), before + AHEAD_MS);
  const first = await observationTime(feed.redis, tag);
  const second = await observationTime(feed.redis, tag);
  expect(first).toBeGreaterThan(before + AHEAD_MS);
  expect(second).toBeGreaterThan(first);
});

test('a host that went back holds up neither sync nor changes', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(50);
  await feed.sync();
  const tag = await feed.tag();
  await feed.redis.client.set(keys.clock(tag), (await observationTime(feed.redis, tag)) + AHEAD_MS);

  for (let round = 0; round < 2; round++) {
    feed.pool.update('user7', { email: `moved${round}@example.com` });
    expect((await feed.sync()).stdout).toContain('0 inserted, 1 updated, 0 deleted');
    await feed.expectMirrorEqualsPool();
  }
});
