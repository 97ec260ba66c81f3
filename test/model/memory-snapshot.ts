/** The snapshot's door in memory: what the scripts of services/writer/snapshot-store.ts and shared/snapshot.ts do, each as one step. */

import { isDeepStrictEqual } from 'node:util';
import type { Learned } from '../../services/writer/learned.ts';
import { type Advance, type SnapshotStore, TOMBSTONE_MS } from '../../services/writer/snapshot-store.ts';
import type { Lsn } from '../../shared/lsn.ts';
import {
  bucketGroup,
  type Entry,
  encodeSub,
  type Known,
  MIN_BUCKETS,
  type Pointer,
  type View,
} from '../../shared/snapshot.ts';
import type { Generation, MemoryRedis } from './memory-redis.ts';
import { Outage, type Process } from './scheduler.ts';

const GONE = 'GONE the generation was collected, or forgotten in part';

export class MemorySnapshot implements SnapshotStore {
  readonly #redis: MemoryRedis;
  readonly #process: Process;
  readonly #newId: () => string;
  /** Pieces loaded into the generation that is being built. */
  readonly #pieces = new Map<string, number>();

  constructor(redis: MemoryRedis, owner: Process, newId: () => string) {
    this.#redis = redis;
    this.#process = owner;
    this.#newId = newId;
  }

  #step<T>(what: string, effect: () => T): Promise<T> {
    return this.#redis.scheduler.step(this.#process, what, effect);
  }

  read(subs: readonly string[]): Promise<View> {
    return this.#step('snapshot read', () => {
      const { pointer, generations, clock } = this.#redis.held;
      const now = Math.max(clock, this.#redis.time);
      const generation = generations.get(pointer?.generation ?? '');
      if (pointer === null || generation === undefined) return { pointer: null, now, known: [] };
      const { entries, tombstones, stale } = generation;
      const known = subs.map(
        (sub): Known => ({
          entry: entries.get(sub) ?? null,
          tombstoned: tombstones.has(sub),
          stale: stale.get(sub) ?? null,
        }),
      );
      return { pointer, now, known };
    });
  }

  advance(timeline: string, from: string, to: string, lsn: Lsn, learned: readonly Learned[]): Promise<Advance> {
    return this.#step(`snapshot advance ${from}→${to}`, () => {
      const { pointer, generations } = this.#redis.held;
      const generation = generations.get(pointer?.generation ?? '');
      if (pointer?.timeline !== timeline) return 'refused';
      if (pointer.commit === to) return 'already';
      if (pointer.commit !== from || generation === undefined) return 'refused';
      learn(generation, learned, false);
      this.#redis.held.pointer = { ...pointer, commit: to, lsn };
      for (const [sub, deletedAt] of generation.tombstones) {
        if (deletedAt <= this.#redis.time - TOMBSTONE_MS) generation.tombstones.delete(sub);
      }
      return 'advanced';
    });
  }

  newGeneration(): Promise<string> {
    this.#pieces.clear();
    return this.#step('snapshot new generation', () => {
      const id = this.#newId();
      const { generations } = this.#redis.held;
      if (!generations.has(id)) {
        generations.set(id, { entries: new Map(), tombstones: new Map(), stale: new Map(), loaded: 0 });
      }
      return id;
    });
  }

  load(generation: string, learned: readonly Learned[]): Promise<number[]> {
    const piece = this.#pieces.get(generation) ?? 0;
    this.#pieces.set(generation, piece + 1);
    return this.#step('snapshot load', () => {
      const into = this.#redis.held.generations.get(generation);
      if (into?.loaded !== piece && into?.loaded !== piece + 1) throw new Outage(GONE);
      into.loaded = piece + 1;
      return learn(into, learned, true);
    });
  }

  point(pointer: Pointer): Promise<void> {
    return this.#step(`snapshot point ${pointer.generation}`, () => {
      const loaded = this.#redis.held.generations.get(pointer.generation)?.loaded;
      if (loaded !== (this.#pieces.get(pointer.generation) ?? 0)) throw new Outage(GONE);
      this.#redis.held.pointer = pointer;
    });
  }

  async collect(current: string): Promise<void> {
    const all = await this.#step('snapshot generations', () => [...this.#redis.held.generations.keys()]);
    for (const id of all) {
      if (id === current) continue;
      await this.#step(`snapshot collect ${id}`, () => {
        const { pointer, generations } = this.#redis.held;
        if (pointer?.generation !== id) generations.delete(id);
      });
    }
  }
}

/** @returns the places of entries left out because they were there */
function learn({ entries, tombstones, stale }: Generation, learned: readonly Learned[], fresh: boolean): number[] {
  const skipped: number[] = [];
  const anyStale = stale.size > 0;
  learned.forEach((one, place) => {
    if (one.op === 'put') {
      const known = fresh ? entries.get(one.sub) : undefined;
      if (known !== undefined && !isDeepStrictEqual(known, one.entry)) skipped.push(place);
      else entries.set(one.sub, one.entry);
    } else if (one.op === 'delete') {
      entries.delete(one.sub);
      tombstones.set(one.sub, one.deletedAt);
    } else if (one.op === 'forget') {
      entries.delete(one.sub);
    }
    if (one.op === 'stale') stale.set(one.sub, one.stale);
    else if (anyStale) stale.delete(one.sub);
  });
  return skipped;
}

const groups = new Map<string, number>();

function groupOf(sub: string): number {
  const known = groups.get(sub);
  if (known !== undefined) return known;
  const group = bucketGroup(encodeSub(sub));
  groups.set(sub, group);
  return group;
}

/** The poller's way to the same snapshot: entries bucket by bucket. */
export class MemorySnapshotReader {
  readonly #redis: MemoryRedis;
  readonly #process: Process;
  readonly #store: MemorySnapshot;

  constructor(redis: MemoryRedis, owner: Process) {
    this.#redis = redis;
    this.#process = owner;
    this.#store = new MemorySnapshot(redis, owner, () => '');
  }

  read(subs: readonly string[]): Promise<View> {
    return this.#store.read(subs);
  }

  geometry(generation: string): Promise<{ buckets: number; entries: number }> {
    const found = this.#redis.held.generations.get(generation);
    return Promise.resolve({ buckets: found === undefined ? 0 : MIN_BUCKETS, entries: found?.entries.size ?? 0 });
  }

  /** A step only where there is somebody: most of the sixty-four groups are empty, and looking at nobody races with nothing. */
  buckets(generation: string, buckets: readonly number[]): Promise<{ sub: string; entry: Entry }[]> {
    const users = () => {
      const entries = this.#redis.held.generations.get(generation)?.entries ?? new Map<string, Entry>();
      return [...entries].flatMap(([sub, entry]) => (buckets.includes(groupOf(sub)) ? [{ sub, entry }] : []));
    };
    if (users().length === 0) return Promise.resolve([]);
    return this.#redis.scheduler.step(this.#process, 'snapshot buckets', users);
  }
}
