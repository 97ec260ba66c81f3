/**
 * What is kept in Redis of a mirror's scans: the one under way, and how the last one ended. Pollers write it; status and sync read it.
 */
import { z } from 'zod';
import { keys, type MirrorTag } from './keys.ts';
import type { Redis } from './redis.ts';

const current = z.object({ id: z.string(), timeline: z.string(), floor: z.number() });

const last = z.object({
  scan: z.string(),
  /** When it began, by Redis's clock; the floor it set. */
  floor: z.number(),
  complete: z.boolean(),
  reason: z.string().nullable(),
  pages: z.number(),
  users: z.number(),
  seconds: z.number(),
  inserted: z.number(),
  updated: z.number(),
  deleted: z.number(),
});

export type CurrentScan = z.infer<typeof current>;
export type LastScan = z.infer<typeof last>;

export interface ScanRecord {
  readonly current: CurrentScan | null;
  readonly last: LastScan | null;
  /** When the last one ended; 0: none did. */
  readonly endedAt: number;
}

export async function readScans(redis: Redis, tag: MirrorTag): Promise<ScanRecord> {
  const [currentText, lastText, ended] = await redis.client.hmget(keys.scans(tag), 'current', 'last', 'ended');
  return { current: parsed(current, currentText), last: parsed(last, lastText), endedAt: Number(ended ?? 0) };
}

/** How far a scan has walked, as far as its shards have noted it; and how large Cognito thinks the pool is. */
export async function scanProgress(
  redis: Redis,
  tag: MirrorTag,
  scan: string,
): Promise<{ users: number; estimate: number | null }> {
  const { estimate, ...shards } = await redis.client.hgetall(keys.progress(tag, scan));
  let users = 0;
  for (const [field, text] of Object.entries(shards)) {
    // A shard that has ended has a field of its own, which counts in place of its last note.
    if (field.endsWith(':end') || shards[`${field}:end`] === undefined)
      users += walkedUsers.catch({ users: 0 }).parse(JSON.parse(text)).users;
  }
  return { users, estimate: estimate === undefined || estimate === '' ? null : Number(estimate) };
}

const walkedUsers = z.object({ users: z.number() });

export async function recordEstimate(redis: Redis, tag: MirrorTag, scan: string, users: number | null): Promise<void> {
  await redis.client.hset(keys.progress(tag, scan), 'estimate', users ?? '');
}

/** @returns whether it is the current scan now; false: another one is */
export async function recordBegin(redis: Redis, tag: MirrorTag, scan: CurrentScan): Promise<boolean> {
  return (await redis.client.hsetnx(keys.scans(tag), 'current', JSON.stringify(scan))) === 1;
}

/** KEYS: the record. ARGV: the scan's id, when it ended, its outcome or ''. A scan that is no longer the current one changes nothing. */
const END_LUA = `
local current = redis.call('HGET', KEYS[1], 'current')
if not current or cjson.decode(current).id ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'current')
redis.call('HSET', KEYS[1], 'ended', ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'last', ARGV[3]) end
return 1
`;

export async function recordEnd(
  redis: Redis,
  tag: MirrorTag,
  scan: string,
  endedAt: number,
  outcome: LastScan | null,
): Promise<void> {
  await redis.script(END_LUA, [keys.scans(tag)], [scan, endedAt, outcome === null ? '' : JSON.stringify(outcome)]);
}

function parsed<T>(schema: z.ZodType<T>, text: string | null | undefined): T | null {
  if (text === null || text === undefined) return null;
  const result = schema.safeParse(JSON.parse(text));
  return result.success ? result.data : null;
}

/** What scans have taught about cutting the pool into shards. Lost with Redis, it is learnt again. */
export interface Sharding {
  /** Shards don't show everybody, or their filters are refused: never again. */
  readonly refused: boolean;
  /** Complete sharded scans since one of the whole pool. */
  readonly sinceWhole: number;
  /** When the last complete sharded scan began; null: none did. */
  readonly shardedAt: number | null;
}

export async function readSharding(redis: Redis, tag: MirrorTag): Promise<Sharding> {
  const [refused, since, at] = await redis.client.hmget(keys.scans(tag), 'shards-refused', 'since-whole', 'sharded-at');
  return { refused: refused === '1', sinceWhole: Number(since ?? 0), shardedAt: at ? Number(at) : null };
}

/** @param scan how a scan was cut and what it found; `sharded` or `whole` only where it was complete */
export async function recordSharding(
  redis: Redis,
  tag: MirrorTag,
  scan: { readonly refused: boolean; readonly sharded: boolean; readonly whole: boolean; readonly floor: number },
): Promise<void> {
  const key = keys.scans(tag);
  if (scan.refused) await redis.client.hset(key, 'shards-refused', '1');
  if (scan.whole) await redis.client.hset(key, 'since-whole', '0');
  if (scan.sharded) {
    await redis.client.hincrby(key, 'since-whole', 1);
    await redis.client.hset(key, 'sharded-at', scan.floor);
  }
}
