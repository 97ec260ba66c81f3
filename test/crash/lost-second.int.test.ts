/**
 * Invariants 1 and 6 where Redis dies and comes back without what it last wrote (`appendfsync everysec` allows a second of it), while those who wrote
 * it live on and know nothing of it.
 */

import { randomUUID } from 'node:crypto';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Learned } from '../../services/writer/learned.ts';
import { RedisSnapshotStore } from '../../services/writer/snapshot-store.ts';
import { fingerprintOf } from '../../shared/fingerprint.ts';
import { queues } from '../../shared/keys.ts';
import { LSN_ZERO } from '../../shared/lsn.ts';
import type { Redis } from '../../shared/redis.ts';
import { rowOf, subOf } from '../../shared/user.ts';
import { type Feed, type FileRedis, redisOfFile } from '../feed.ts';
import { until } from '../until.ts';
import { completeScan, setScene } from './scene.ts';

const redis = redisOfFile({ appendOnly: true });
const ONE_PAGE_MS = 40;

/** Now remembers what Redis has written; the function that it gives kills Redis and lets it begin again from that. */
async function remember({ server }: FileRedis): Promise<() => Promise<void>> {
  const [folder, copy] = [join(server.folder, 'appendonlydir'), join(server.folder, `older-${randomUUID()}`)];
  await cp(folder, copy, { recursive: true });
  return async () => {
    await server.kill();
    await rm(folder, { recursive: true });
    await cp(copy, folder, { recursive: true });
    await server.start();
  };
}

test('invariant 6: a scan whose queued batches Redis has forgotten is not complete, and as_of stays', async () => {
  const scene = await setScene(redis, 10);
  const { feed } = scene;
  await feed.sync();
  const tag = await feed.tag();
  scene.fill(4_000);
  feed.emulator.faults.set({ latency: { ms: ONE_PAGE_MS, jitterMs: 0 } });
  const writer = feed.runWriter();
  feed.runPoller();
  const batches = async () => {
    const lists = ['wait', 'active'].map((list) => feed.redis.client.lrange(`${tag}:${queues.changes}:${list}`, 0, -1));
    return new Set((await Promise.all(lists)).flat().filter((id) => /\.\d+\.\d+$/.test(id))).size;
  };
  // The first one (of 1,000 changes, and a little one after it) is in the writer's hands, which wait for the slot; what comes later is only in Redis.
  const slot = await feed.postgres.connect();
  await until('a scan', async () => (feed.emulator.record.requests['ListUsers'] ?? 0) > 5);
  await slot.query('begin; select from cognito_feed.slots for update');
  await until('the first batches', async () => (await batches()) === 2);
  const forget = await remember(redis);
  await until('more of them', async () => (await batches()) > 2);
  await forget();
  await slot.query('commit');
  slot.release();
  await completeScan(feed);
  await writer.stop();
  await scene.expectWell();
});

test('invariant 1: a generation of which Redis has forgotten a part is never pointed to', async () => {
  const { feed } = await setScene(redis, 100);
  const { store, learned, pointerTo } = await loading(feed);
  const generation = await store.newGeneration();
  await store.load(generation, learned.slice(0, 50));
  const forget = await remember(redis);
  await store.load(generation, learned.slice(50));
  await forget();
  await expect(store.point(pointerTo(generation))).rejects.toThrow('GONE');
  expect((await store.read([])).pointer).toBeNull();
});

test('invariant 1: a generation of which Redis has forgotten a part takes no more', async () => {
  const { feed } = await setScene(redis, 100);
  const { store, learned } = await loading(feed);
  const generation = await store.newGeneration();
  const forget = await remember(redis);
  await store.load(generation, learned.slice(0, 50));
  await forget();
  await expect(store.load(generation, learned.slice(50))).rejects.toThrow('GONE');
});

test('invariant 3: what is loaded twice, because its answer was lost, is there once', async () => {
  const { feed } = await setScene(redis, 100);
  const { store, learned, pointerTo } = await loading(feed);
  const generation = await store.newGeneration();
  sendTwice(feed.redis);
  expect(await store.load(generation, learned)).toEqual([]);
  await store.point(pointerTo(generation));
  expect(await store.read([])).toMatchObject({ pointer: { generation } });
});

/** What a rebuild does, step by step. */
async function loading(feed: Feed) {
  const store = new RedisSnapshotStore(feed.redis, await feed.tag(), randomUUID, async () => undefined);
  const timeline = randomUUID();
  const learned = Array.from(feed.pool.users(), (user): Learned => {
    const row = rowOf(user);
    const entry = { observedAt: 1, fingerprint: fingerprintOf(row, timeline), username: row.username };
    return { op: 'put', sub: subOf(row), entry };
  });
  const pointerTo = (generation: string) => ({ timeline, generation, commit: randomUUID(), lsn: LSN_ZERO });
  return { store, learned, pointerTo };
}

/** As ioredis does with a script whose connection broke before the answer came: it is sent again, and the second answer counts. */
function sendTwice(redis: Redis): void {
  const script = redis.script.bind(redis);
  redis.script = async (...args) => {
    await script(...args);
    return await script(...args);
  };
}
