/** The snapshot's door in memory against the one on a real Redis: the same use of both, the same answers. So the model can't drift from the truth. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { RedisSnapshotStore } from '../../services/writer/snapshot-store.ts';
import type { MirrorTag } from '../../shared/keys.ts';
import { LSN_ZERO } from '../../shared/lsn.ts';
import { createRedisClient, Redis } from '../../shared/redis.ts';
import { bucketKey, MIN_BUCKETS, SnapshotReader } from '../../shared/snapshot.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { MemoryRedis } from './memory-redis.ts';
import { MemorySnapshot, MemorySnapshotReader } from './memory-snapshot.ts';
import { startPump } from './pumped.ts';
import { built, put, randomUse, type SnapshotDoor, subOfNumber, walked } from './snapshot-scenarios.ts';

let server: RedisServer | undefined;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server?.stop());

type Opened = SnapshotDoor & { readonly tag: MirrorTag; readonly redis: Redis };

function realDoor(): Opened {
  const redis = new Redis(createRedisClient({ url: server?.url ?? '', ca: null }));
  onTestFinished(() => redis.client.disconnect());
  const tag = `{cf-${randomUUID().slice(0, 8)}}` as MirrorTag;
  const store = new RedisSnapshotStore(redis, tag, randomUUID, async () => undefined);
  return { store, walk: new SnapshotReader(redis, tag), tag, redis };
}

function memoryDoor(): SnapshotDoor {
  const pump = startPump('door');
  onTestFinished(() => pump.stop());
  const redis = new MemoryRedis(pump.scheduler);
  return {
    store: new MemorySnapshot(redis, pump.process, randomUUID),
    walk: new MemorySnapshotReader(redis, pump.process),
  };
}

const DOORS: readonly (readonly [name: string, open: () => SnapshotDoor])[] = [
  ['on a real Redis', realDoor],
  ['in memory', memoryDoor],
];

const nowOf = async ({ store }: SnapshotDoor): Promise<number> => (await store.read([])).now;

describe.each(DOORS)('The snapshot %s', (_, open) => {
  test('is none before a generation is pointed to, nor when that one is gone', async () => {
    const door = open();
    expect(await door.store.read(['x'])).toMatchObject({ pointer: null, known: [] });
    const gone = await door.store.newGeneration();
    const current = await built(door, 3, 1_000);
    await door.store.collect(current);
    await expect(door.store.load(gone, [put(1, 1_000)])).rejects.toThrow('GONE');
    await expect(door.store.point({ timeline: 't', generation: gone, commit: 'c', lsn: LSN_ZERO })).rejects.toThrow(
      'GONE',
    );
    expect((await door.store.read([])).pointer).toMatchObject({ generation: current });
  });

  test('keeps the generation in use, whoever collects', async () => {
    const door = open();
    const current = await built(door, 3, 1_000);
    // A builder that has lost its session collects all but its own.
    await door.store.collect(await door.store.newGeneration());
    expect((await door.store.read([subOfNumber(1)])).known[0]?.entry?.observedAt).toBe(1_000);
    expect((await door.walk.geometry(current)).entries).toBe(3);
  });

  test('advances from the commit that it is at, and refuses anything else', async () => {
    const door = open();
    await built(door, 3, 1_000);
    const { store } = door;
    expect(await store.advance('t', 'c0', 'c1', LSN_ZERO, [put(1, 2_000)])).toBe('advanced');
    expect(await store.advance('t', 'c0', 'c1', LSN_ZERO, [put(1, 3_000)])).toBe('already');
    expect(await store.advance('t', 'c0', 'c2', LSN_ZERO, [put(1, 3_000)])).toBe('refused');
    expect(await store.advance('u', 'c1', 'c2', LSN_ZERO, [put(1, 3_000)])).toBe('refused');
    const { pointer, known } = await store.read([subOfNumber(1)]);
    expect(pointer?.commit).toBe('c1');
    expect(known[0]?.entry?.observedAt).toBe(2_000);
  });

  test('leaves out who is loaded twice, and says where', async () => {
    const door = open();
    const generation = await door.store.newGeneration();
    expect(await door.store.load(generation, [put(1, 1), put(2, 1), put(1, 2)])).toEqual([2]);
    expect(await door.store.load(generation, [put(3, 1), put(2, 2)])).toEqual([1]);
    await door.store.point({ timeline: 't', generation, commit: 'c', lsn: LSN_ZERO });
    expect((await door.store.read([subOfNumber(1)])).known[0]?.entry?.observedAt).toBe(1);
    expect((await door.walk.geometry(generation)).entries).toBe(3);
  });

  test('forgets a tombstone an hour after the delete, and a stale read when its user is learned', async () => {
    const door = open();
    await built(door, 3, 1_000);
    const now = await nowOf(door);
    const [one, two, three] = [1, 2, 3].map(subOfNumber) as [string, string, string];
    const { store } = door;
    await store.advance('t', 'c0', 'c1', LSN_ZERO, [
      { op: 'delete', sub: one, deletedAt: now - 61 * 60_000 },
      { op: 'delete', sub: two, deletedAt: now - 59 * 60_000 },
      { op: 'stale', sub: three, stale: { fingerprint: '0123456789abcdef' as never, firstObservedAt: now } },
    ]);
    const view = await store.read([one, two, three]);
    expect(view.known.map(({ tombstoned }) => tombstoned)).toEqual([false, true, false]);
    expect(view.known[2]?.stale).toEqual({ fingerprint: '0123456789abcdef', firstObservedAt: now });
    await store.advance('t', 'c1', 'c2', LSN_ZERO, [put(3, now)]);
    expect((await store.read([three])).known[0]?.stale).toBeNull();
  });
});

test.each([7, 42, 20_261_123])(
  'Both doors give the same answers to the same 60 steps on 8,000 users, through many splits: seed %i',
  async (seed) => {
    const real = realDoor();
    const memory = memoryDoor();
    const users = 8_000;
    const answers: unknown[] = [];
    const held: Map<string, unknown>[] = [];
    for (const door of [real, memory]) {
      const at = await nowOf(door);
      const generation = await built(door, users, at);
      answers.push(relativeTo(at, await randomUse(door, users, at, seed)));
      const all = await walked(door, generation);
      expect((await door.walk.geometry(generation)).entries).toBe(all.size);
      held.push(relativeTo(at, all) as Map<string, unknown>);
      if (door === real) await expectSplit(real, generation, all.size);
    }
    expect(answers[0]).toEqual(answers[1]);
    expect([...(held[0] ?? [])].sort()).toEqual([...(held[1] ?? [])].sort());
  },
);

/** As many buckets as linear hashing should have made, none of which outgrows Redis's compact encoding. */
async function expectSplit({ redis, tag, walk }: Opened, generation: string, entries: number): Promise<void> {
  const { buckets } = await walk.geometry(generation);
  expect(buckets).toBeGreaterThan(MIN_BUCKETS * 2);
  expect(entries).toBeLessThanOrEqual(buckets * 48);
  for (let bucket = 0; bucket < buckets; bucket++) {
    expect(await redis.client.hlen(bucketKey(tag, generation, bucket))).toBeLessThanOrEqual(128);
  }
}

/** The doors' clocks differ: times are compared as offsets. (Fingerprints are made of times here: they are left out.) */
function relativeTo(at: number, value: unknown): unknown {
  if (typeof value === 'number') return value > 1_000_000_000 ? value - at : value;
  if (value instanceof Map) return new Map([...value].map(([key, one]) => [key, relativeTo(at, one)]));
  if (Array.isArray(value)) return value.map((one) => relativeTo(at, one));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, one]) => (key === 'fingerprint' ? [] : [[key, relativeTo(at, one)]])),
  );
}
