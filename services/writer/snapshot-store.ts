/**
 * The writer's side of the snapshot: the only code that writes it. Two scripts: one advances the pointer from one commit to the next and
 * refuses anything else; one loads a new generation, which nothing reads before the pointer names it.
 */

import { keys, type MirrorTag } from '../../shared/keys.ts';
import type { Lsn } from '../../shared/lsn.ts';
import type { Redis } from '../../shared/redis.ts';
import {
  BUCKET_LUA,
  bucketKey,
  geometryKey,
  MIN_BUCKETS,
  type Pointer,
  SnapshotReader,
  staleKey,
  tombstonesKey,
  type View,
} from '../../shared/snapshot.ts';
import { encodeLearned, type Learned } from './learned.ts';

export type Advance = 'advanced' | 'already' | 'refused';

export interface SnapshotStore {
  /** Pointer, clock and what is known of these users, at one instant. */
  read(subs: readonly string[]): Promise<View>;
  /**
   * Moves the pointer from one commit to another and learns what it brought; nothing happens unless the pointer is at `from`.
   * already: it is at `to`. refused: it is anywhere else.
   */
  advance(timeline: string, from: string, to: string, lsn: Lsn, learned: readonly Learned[]): Promise<Advance>;
  /** A new, empty generation, which nothing reads yet. */
  newGeneration(): Promise<string>;
  /**
   * Adds entries and tombstones to a generation. An entry whose sub is there already is left out; gives their places in `learned`.
   */
  load(generation: string, learned: readonly Learned[]): Promise<number[]>;
  /** From here on the generation is the snapshot. @throws where it has been collected meanwhile, or Redis has forgotten a part of it */
  point(pointer: Pointer): Promise<void>;
  /** Deletes all generations but this one and the one in use. Only while no other is being built. */
  collect(current: string): Promise<void>;
}

/** Tombstones are kept this long (rule 3). */
export const TOMBSTONE_MS = 60 * 60_000;

/**
 * A bucket is split when there are more entries than this for each: buckets not yet split in a round hold up to twice as many, so that hardly
 * one passes 128, where Redis would leave the compact encoding.
 */
const ENTRIES_A_BUCKET = 48;

const LEARN_LUA = `${BUCKET_LUA}
local function learn(tag, gen, packed, fresh)
  local base, g, x, stale = tag .. ':s:' .. gen .. ':', tag .. ':g:' .. gen, tag .. ':x:' .. gen, tag .. ':stale:' .. gen
  local shape = redis.call('HMGET', g, 'buckets', 'entries')
  local n, entries = tonumber(shape[1]), tonumber(shape[2])
  local m = half(n)
  local anyStale = redis.call('EXISTS', stale) == 1
  local skipped = {}
  local at, size, place = 1, #packed, 0
  while at <= size do
    local fh, fl, vh, vl = string.byte(packed, at + 1, at + 4)
    local op = string.sub(packed, at, at)
    local fieldEnd = at + 4 + fh * 256 + fl
    local field = string.sub(packed, at + 5, fieldEnd)
    local value = string.sub(packed, fieldEnd + 1, fieldEnd + vh * 256 + vl)
    at = fieldEnd + vh * 256 + vl + 1
    local bucket = base .. bucketOf(field, n, m)
    if op == 'p' then
      if fresh then
        if redis.call('HSETNX', bucket, field, value) == 1 then entries = entries + 1
        elseif redis.call('HGET', bucket, field) ~= value then skipped[#skipped + 1] = place end
      else
        entries = entries + redis.call('HSET', bucket, field, value)
      end
    elseif op == 'd' then
      entries = entries - redis.call('HDEL', bucket, field)
      redis.call('ZADD', x, value, field)
    elseif op == 'f' then
      entries = entries - redis.call('HDEL', bucket, field)
    end
    if op == 's' then redis.call('HSET', stale, field, value)
    elseif anyStale then redis.call('HDEL', stale, field) end
    place = place + 1
  end
  while entries > n * ${ENTRIES_A_BUCKET} do
    local from, to = base .. (n - m), base .. n
    n = n + 1
    m = half(n)
    local all = redis.call('HGETALL', from)
    for i = 1, #all, 2 do
      if bucketOf(all[i], n, m) == n - 1 then
        redis.call('HSET', to, all[i], all[i + 1])
        redis.call('HDEL', from, all[i])
      end
    end
  end
  redis.call('HSET', g, 'buckets', n, 'entries', entries)
  return skipped
end
`;

/** KEYS: the pointer. ARGV: tag, timeline, from, to, LSN, what is learned (`encodeLearned`). */
const ADVANCE_LUA = `${LEARN_LUA}
local p = redis.call('HMGET', KEYS[1], 'timeline', 'generation', 'commit')
if p[1] ~= ARGV[2] then return 'refused' end
if p[3] == ARGV[4] then return 'already' end
if p[3] ~= ARGV[3] or redis.call('EXISTS', ARGV[1] .. ':g:' .. p[2]) == 0 then return 'refused' end
learn(ARGV[1], p[2], ARGV[6], false)
redis.call('HSET', KEYS[1], 'commit', ARGV[4], 'lsn', ARGV[5])
local x = ARGV[1] .. ':x:' .. p[2]
if redis.call('EXISTS', x) == 1 then
  local time = redis.call('TIME')
  redis.call('ZREMRANGEBYSCORE', x, '-inf', time[1] * 1000 - ${TOMBSTONE_MS})
end
return 'advanced'
`;

/**
 * KEYS: the generation's geometry. ARGV: tag, generation, the number of this piece, what is learned. Pieces come in turn, each once or, where its answer
 * was lost, twice: a Redis that came back without what it last wrote is found out, however silently the client connected again.
 */
const LOAD_LUA = `${LEARN_LUA}
local loaded, piece = tonumber(redis.call('HGET', KEYS[1], 'loaded')), tonumber(ARGV[3])
if loaded ~= piece and loaded ~= piece + 1 then return redis.error_reply('GONE the generation was collected, or forgotten in part') end
redis.call('HSET', KEYS[1], 'loaded', piece + 1)
return learn(ARGV[1], ARGV[2], ARGV[4], true)
`;

/** KEYS: the pointer, the generation's geometry. ARGV: the number of pieces, the pointer's fields and values. */
const POINT_LUA = `
if redis.call('HGET', KEYS[2], 'loaded') ~= ARGV[1] then return redis.error_reply('GONE the generation was collected, or forgotten in part') end
return redis.call('HSET', KEYS[1], unpack(ARGV, 2))
`;

/**
 * KEYS: the pointer, a generation's geometry. ARGV: the generation. Gives 0 where the pointer names it: whoever collects may have lost its session,
 * and the advisory lock with it, while another writer switched to a generation of its own.
 */
const DOOM_LUA = `
if redis.call('HGET', KEYS[1], 'generation') == ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2])
return 1
`;

export class RedisSnapshotStore implements SnapshotStore {
  readonly #redis: Redis;
  readonly #tag: MirrorTag;
  readonly #reader: SnapshotReader;
  readonly #newId: () => string;
  readonly #onLoad: () => Promise<void>;
  /** Pieces loaded into the generation that is being built. */
  readonly #pieces = new Map<string, number>();

  /** @param onLoad told of each step of a rebuild */
  constructor(redis: Redis, tag: MirrorTag, newId: () => string, onLoad: () => Promise<void>) {
    this.#redis = redis;
    this.#tag = tag;
    this.#reader = new SnapshotReader(redis, tag);
    this.#newId = newId;
    this.#onLoad = onLoad;
  }

  read(subs: readonly string[]): Promise<View> {
    return this.#reader.read(subs);
  }

  async advance(timeline: string, from: string, to: string, lsn: Lsn, learned: readonly Learned[]): Promise<Advance> {
    const head = [this.#tag, timeline, from, to, lsn];
    const reply = await this.#redis.script(ADVANCE_LUA, [keys.snapshot(this.#tag)], [...head, encodeLearned(learned)]);
    return String(reply) as Advance;
  }

  async newGeneration(): Promise<string> {
    const generation = this.#newId().slice(0, 8);
    this.#pieces.clear();
    await this.#redis.client.sadd(keys.generations(this.#tag), generation);
    await this.#redis.client.hset(geometryKey(this.#tag, generation), { buckets: MIN_BUCKETS, entries: 0, loaded: 0 });
    return generation;
  }

  async load(generation: string, learned: readonly Learned[]): Promise<number[]> {
    await this.#onLoad();
    const piece = this.#pieces.get(generation) ?? 0;
    this.#pieces.set(generation, piece + 1);
    const args = [this.#tag, generation, piece, encodeLearned(learned)];
    return ((await this.#redis.script(LOAD_LUA, [geometryKey(this.#tag, generation)], args)) as number[]).map(Number);
  }

  async point({ timeline, generation, commit, lsn }: Pointer): Promise<void> {
    const names = [keys.snapshot(this.#tag), geometryKey(this.#tag, generation)];
    const fields = ['timeline', timeline, 'generation', generation, 'commit', commit, 'lsn', lsn];
    await this.#redis.script(POINT_LUA, names, [this.#pieces.get(generation) ?? 0, ...fields]);
    this.#pieces.delete(generation);
  }

  async collect(current: string): Promise<void> {
    for (const generation of await this.#redis.client.smembers(keys.generations(this.#tag))) {
      if (generation === current) continue;
      const { buckets } = await this.#reader.geometry(generation);
      // Its geometry goes first: a builder that was only paused finds its generation gone and stops.
      const names = [keys.snapshot(this.#tag), geometryKey(this.#tag, generation)];
      if ((await this.#redis.script(DOOM_LUA, names, [generation])) === 0) continue;
      const doomed = [tombstonesKey(this.#tag, generation), staleKey(this.#tag, generation)];
      for (let bucket = 0; bucket < buckets; bucket++) doomed.push(bucketKey(this.#tag, generation, bucket));
      while (doomed.length > 0) await this.#redis.client.unlink(...doomed.splice(0, 500));
      await this.#redis.client.srem(keys.generations(this.#tag), generation);
    }
  }
}
