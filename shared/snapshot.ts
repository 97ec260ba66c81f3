/**
 * The snapshot as everyone reads it: its layout in Redis, and the script that reads pointer and entries together.
 * Only the writer writes it (services/writer/snapshot-writer.ts).
 *
 * Users lie in buckets, each a hash small enough for Redis's listpack encoding (128 entries of 64 bytes by default): about 38 bytes a
 * user against 120 in one big hash. The number of buckets follows the number of users by linear hashing: the script that adds entries splits
 * one bucket at a time, so nothing is ever rebuilt at once.
 */

import { hash } from 'node:crypto';
import type { Fingerprint } from './fingerprint.ts';
import { keys, type MirrorTag } from './keys.ts';
import { type Lsn, parseLsn } from './lsn.ts';
import type { Redis } from './redis.ts';

/** Which history the snapshot holds, and up to which commit. */
export interface Pointer {
  readonly timeline: string;
  readonly generation: string;
  readonly commit: string;
  readonly lsn: Lsn;
}

/** What the mirror is confirmed to hold of one user. */
export interface Entry {
  readonly observedAt: number;
  readonly fingerprint: Fingerprint;
  readonly username: string;
}

/** A read that came out older than the mirror's row and waits to be seen again (rule 4). */
export interface StaleRead {
  readonly fingerprint: Fingerprint;
  readonly firstObservedAt: number;
}

export interface Known {
  readonly entry: Entry | null;
  readonly tombstoned: boolean;
  readonly stale: StaleRead | null;
}

export interface View {
  /** null: there is no snapshot, or its generation is gone. */
  readonly pointer: Pointer | null;
  /** Redis's clock, milliseconds; no observation is later. */
  readonly now: number;
  /** One for each sub asked for, in their order; empty where there is no snapshot. */
  readonly known: readonly Known[];
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME_BYTES = 6;
const FIXED_BYTES = TIME_BYTES + 8;

/**
 * A sub as a hash field: sixteen raw bytes where it is a UUID in lower case; else its text behind one NUL, or two where that would make
 * sixteen bytes. (A sub holds no NUL: `storable`.)
 */
export function encodeSub(sub: string): Buffer {
  if (UUID.test(sub)) return Buffer.from(sub.replaceAll('-', ''), 'hex');
  const text = Buffer.from(`\0${sub}`);
  return text.length === 16 ? Buffer.from(`\0\0${sub}`) : text;
}

export function decodeSub(field: Buffer): string {
  if (field.length !== 16) return field.toString('utf8').replace(/^\0+/, '');
  const hex = field.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The username is left out where it is the sub. */
export function encodeEntry(sub: string, entry: Entry): Buffer {
  const fixed = Buffer.allocUnsafe(FIXED_BYTES);
  fixed.writeUIntBE(entry.observedAt, 0, TIME_BYTES);
  fixed.write(entry.fingerprint, TIME_BYTES, 'hex');
  return entry.username === sub ? fixed : Buffer.concat([fixed, Buffer.from(entry.username)]);
}

export function decodeEntry(sub: string, value: Buffer): Entry {
  return {
    observedAt: value.readUIntBE(0, TIME_BYTES),
    fingerprint: value.toString('hex', TIME_BYTES, FIXED_BYTES) as Fingerprint,
    username: value.length === FIXED_BYTES ? sub : value.toString('utf8', FIXED_BYTES),
  };
}

export function encodeStale(stale: StaleRead): Buffer {
  return encodeEntry('', { observedAt: stale.firstObservedAt, fingerprint: stale.fingerprint, username: '' });
}

function decodeStale(value: Buffer): StaleRead {
  const { observedAt, fingerprint } = decodeEntry('', value);
  return { fingerprint, firstObservedAt: observedAt };
}

/**
 * Lua that every script on the snapshot begins with: which bucket a field is in. Buckets are numbered from 0; there are `n` of them, and `m`
 * is the greatest power of two not above `n`; a field is in bucket `h mod 2m`, or `h mod m` while that one has not been split yet.
 * The hash is SHA-1's first 32 bits: subs themselves are uneven (some of their digits are the same in a whole Region).
 */
export const BUCKET_LUA = `
local function half(n) local m = 1 while m * 2 <= n do m = m * 2 end return m end
local function bucketOf(field, n, m)
  local h = tonumber(string.sub(redis.sha1hex(field), 1, 8), 16)
  local b = h % (2 * m)
  if b >= n then b = b - m end
  return b
end
`;

export const bucketKey = (tag: MirrorTag, generation: string, bucket: number | string): string =>
  `${tag}:s:${generation}:${bucket}`;
export const geometryKey = (tag: MirrorTag, generation: string): string => `${tag}:g:${generation}`;
export const tombstonesKey = (tag: MirrorTag, generation: string): string => `${tag}:x:${generation}`;
export const staleKey = (tag: MirrorTag, generation: string): string => `${tag}:stale:${generation}`;

/**
 * Pointer, clock and the entries of some users, at one instant. KEYS: the pointer, the clock. ARGV: the tag, the fields packed (`packFields`).
 * A pointer to a generation that is gone (a writer that had lost its session collected it) is none: the resync that follows puts that right.
 * Packed both ways: a thousand arguments and three thousand replies cost the client more than the script costs Redis.
 */
const READ_LUA = `${BUCKET_LUA}
local tag, packed = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
local now = string.format('%.0f', math.max(last, time[1] * 1000 + math.floor(time[2] / 1000)))
local p = redis.call('HMGET', KEYS[1], 'timeline', 'generation', 'commit', 'lsn')
if not p[1] then return {now} end
local n = tonumber(redis.call('HGET', tag .. ':g:' .. p[2], 'buckets'))
if not n then return {now} end
local m = half(n)
local base = tag .. ':s:' .. p[2] .. ':'
local x, stale = tag .. ':x:' .. p[2], tag .. ':stale:' .. p[2]
local anyX, anyStale = redis.call('EXISTS', x) == 1, redis.call('EXISTS', stale) == 1
local out = {}
local at, size = 1, #packed
while at <= size do
  local hi, lo = string.byte(packed, at, at + 1)
  local field = string.sub(packed, at + 2, at + 1 + hi * 256 + lo)
  at = at + 2 + hi * 256 + lo
  local entry = redis.call('HGET', base .. bucketOf(field, n, m), field) or ''
  local late = anyStale and redis.call('HGET', stale, field) or ''
  local dead = anyX and redis.call('ZSCORE', x, field) and 1 or 0
  out[#out + 1] = string.char(dead, #late, math.floor(#entry / 256), #entry % 256) .. late .. entry
end
return {now, p[1], p[2], p[3], p[4], table.concat(out)}
`;

/** Each behind its length, two bytes, big-endian. */
function packFields(subs: readonly string[]): Buffer {
  const parts: Buffer[] = [];
  for (const sub of subs) {
    const field = encodeSub(sub);
    const length = Buffer.allocUnsafe(2);
    length.writeUInt16BE(field.length);
    parts.push(length, field);
  }
  return Buffer.concat(parts);
}

/** What READ_LUA says of each: one byte tombstoned, one the stale read's length, two the entry's length; then both. */
function unpackKnown(subs: readonly string[], packed: Buffer): Known[] {
  let at = 0;
  return subs.map((sub): Known => {
    const tombstoned = packed[at] === 1;
    const staleEnd = at + 4 + (packed[at + 1] ?? 0);
    const end = staleEnd + packed.readUInt16BE(at + 2);
    const stale = packed.subarray(at + 4, staleEnd);
    const entry = packed.subarray(staleEnd, end);
    at = end;
    return {
      entry: entry.length === 0 ? null : decodeEntry(sub, entry),
      tombstoned,
      stale: stale.length === 0 ? null : decodeStale(stale),
    };
  });
}

export class SnapshotReader {
  readonly #redis: Redis;
  readonly #tag: MirrorTag;

  constructor(redis: Redis, tag: MirrorTag) {
    this.#redis = redis;
    this.#tag = tag;
  }

  /** Pointer, clock, and what is known of these users, all at one instant. One round trip. */
  async read(subs: readonly string[]): Promise<View> {
    const reply = await this.#redis.script(
      READ_LUA,
      [keys.snapshot(this.#tag), keys.clock(this.#tag)],
      [this.#tag, packFields(subs)],
    );
    const [now, timeline, generation, commit, lsn, known] = reply as Buffer[];
    if (known === undefined) return { pointer: null, now: Number(now), known: [] };
    const pointer: Pointer = {
      timeline: String(timeline),
      generation: String(generation),
      commit: String(commit),
      lsn: parseLsn(String(lsn)),
    };
    return { pointer, now: Number(now), known: unpackKnown(subs, known) };
  }

  /** How many buckets and entries a generation has. */
  async geometry(generation: string): Promise<{ buckets: number; entries: number }> {
    const [buckets, entries] = await this.#redis.client.hmget(geometryKey(this.#tag, generation), 'buckets', 'entries');
    return { buckets: Number(buckets ?? 0), entries: Number(entries ?? 0) };
  }

  /** All entries of some buckets. A bucket may be split while a walk is under way: see `bucketGroup`. */
  async buckets(generation: string, buckets: readonly number[]): Promise<{ sub: string; entry: Entry }[]> {
    const wanted = buckets.map((bucket) => bucketKey(this.#tag, generation, bucket));
    const reply = (await this.#redis.script(BUCKETS_LUA, wanted, [])) as Buffer[][];
    const users: { sub: string; entry: Entry }[] = [];
    for (const bucket of reply) {
      for (let i = 0; i + 1 < bucket.length; i += 2) {
        const sub = decodeSub(bucket[i] as Buffer);
        users.push({ sub, entry: decodeEntry(sub, bucket[i + 1] as Buffer) });
      }
    }
    return users;
  }
}

/** A script, because a Lua table is a plain list of binary strings in every protocol version. */
const BUCKETS_LUA = `
local out = {}
for i, key in ipairs(KEYS) do out[i] = redis.call('HGETALL', key) end
return out
`;

/** A new generation has this many buckets, and never fewer. A power of two. */
export const MIN_BUCKETS = 64;

/**
 * Users are of one group when their buckets' numbers leave the same rest; a split never moves anybody into another group. A group is walked as
 * the buckets `group, group + GROUPS, …`.
 */
export const GROUPS = MIN_BUCKETS;
export const bucketGroup = (field: Buffer): number => hash('sha1', field, 'buffer').readUInt32BE(0) % GROUPS;
