/**
 * What became of hints, counted in Redis for each mirror: by status, metrics and tests to be read. No names, no values.
 */
import { z } from 'zod';
import { keys, type MirrorTag } from './keys.ts';
import type { Redis } from './redis.ts';

export const HINT_SOURCES = ['cli', 'http', 'sqs', 'lane'] as const;
export type HintSource = (typeof HINT_SOURCES)[number];

/**
 * received: understood as a hint of this mirror. doubled: joined one that still waits, or an event seen before. ignored: no look was needed, or
 * there were too many. changed, unchanged: what the looks came to. nameless: could only bring a scan forward. unreadable: no hint at all.
 */
export const HINT_OUTCOMES = [
  'received',
  'doubled',
  'ignored',
  'changed',
  'unchanged',
  'nameless',
  'unreadable',
] as const;
export type HintOutcome = (typeof HINT_OUTCOMES)[number];

/** From Cognito's last-modified time to the commit: upper bounds in milliseconds. What is slower stands in `count` alone. */
export const LATENCY_BOUNDS_MS = [500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000] as const;
/** An older date says nothing about how fast a refresh was: the change was one that doesn't move it. */
export const MEANINGLESS_MS = 60 * 60_000;

const lane = z.object({ status: z.string(), at: z.number(), givenUp: z.string().nullable(), users: z.number() });
/** The last walk of a hot lane. `givenUp`: why it was, in a line; null where it came to its end. `at`: milliseconds, Redis's clock. */
export type LaneRecord = z.infer<typeof lane>;

export interface HintRecord {
  readonly sources: Readonly<Record<HintSource, Readonly<Record<HintOutcome, number>>>>;
  /** Commits of refreshes; `within[i]` took at most LATENCY_BOUNDS_MS[i], and includes those that were faster. */
  readonly latency: { readonly count: number; readonly sumMs: number; readonly within: readonly number[] };
  readonly lanes: readonly LaneRecord[];
}

export async function countHints(
  redis: Redis,
  tag: MirrorTag,
  source: HintSource,
  counts: Partial<Record<HintOutcome, number>>,
): Promise<void> {
  const pipeline = redis.client.pipeline();
  for (const [outcome, count] of Object.entries(counts))
    if (count > 0) pipeline.hincrby(keys.hints(tag), `${source}.${outcome}`, count);
  if (pipeline.length > 0) await pipeline.exec();
}

/** @param latenciesMs of users just committed, from their last-modified time on */
export async function recordLatencies(redis: Redis, tag: MirrorTag, latenciesMs: readonly number[]): Promise<void> {
  const counted = latenciesMs.filter((ms) => ms < MEANINGLESS_MS).map((ms) => Math.max(0, ms));
  if (counted.length === 0) return;
  const key = keys.hints(tag);
  const pipeline = redis.client.pipeline();
  pipeline.hincrby(key, 'latency.count', counted.length);
  pipeline.hincrby(key, 'latency.sum', Math.round(counted.reduce((sum, ms) => sum + ms, 0)));
  for (const bound of LATENCY_BOUNDS_MS) {
    const within = counted.filter((ms) => ms <= bound).length;
    if (within > 0) pipeline.hincrby(key, `latency.${bound}`, within);
  }
  await pipeline.exec();
}

/** Lanes that are no longer set drop out after a while: the whole record expires when no lane is walked. */
export async function recordLane(redis: Redis, tag: MirrorTag, record: LaneRecord, keptMs: number): Promise<void> {
  await redis.client
    .multi()
    .hset(keys.lanes(tag), record.status, JSON.stringify(record))
    .pexpire(keys.lanes(tag), Math.ceil(keptMs))
    .exec();
}

export async function readHints(redis: Redis, tag: MirrorTag): Promise<HintRecord> {
  const [counters, lanes] = await Promise.all([
    redis.client.hgetall(keys.hints(tag)),
    redis.client.hgetall(keys.lanes(tag)),
  ]);
  const count = (field: string) => Number(counters[field] ?? 0);
  const outcomes = (source: HintSource) =>
    Object.fromEntries(HINT_OUTCOMES.map((outcome) => [outcome, count(`${source}.${outcome}`)]));
  return {
    sources: Object.fromEntries(HINT_SOURCES.map((source) => [source, outcomes(source)])) as HintRecord['sources'],
    latency: {
      count: count('latency.count'),
      sumMs: count('latency.sum'),
      within: LATENCY_BOUNDS_MS.map((bound) => count(`latency.${bound}`)),
    },
    lanes: Object.values(lanes).map((text) => lane.parse(JSON.parse(text))),
  };
}
