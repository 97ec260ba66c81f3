/**
 * What a writer tells the pollers through Redis: which mirrors there are, and under which timeline each of them stands now.
 */
import { z } from 'zod';
import { keys, type MirrorTag } from './keys.ts';
import type { Redis } from './redis.ts';

const announcement = z.object({
  tag: z.custom<MirrorTag>((value) => typeof value === 'string'),
  pool: z.string(),
  /** As `schema.table`. */
  target: z.string(),
  /** null: none stands; pollers wait. */
  timeline: z.string().nullable(),
  state: z.enum(['copying', 'streaming']),
  users: z.number(),
  /** Redis's clock, milliseconds. */
  at: z.number(),
});

const dated = z.object({ at: z.number() });

export type Announcement = z.infer<typeof announcement>;

/** A mirror whose writer has been silent for so long is served no more. */
export const SILENT_MS = 30_000;
/** After so long it is forgotten. */
const FORGOTTEN_MS = 24 * 60 * 60_000;

export async function redisNow(redis: Redis): Promise<number> {
  const [seconds, micros] = await redis.client.time();
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

export async function announce(redis: Redis, mirror: Omit<Announcement, 'at'>): Promise<void> {
  const at = await redisNow(redis);
  await redis.client.hset(keys.mirrors, mirror.tag, JSON.stringify({ ...mirror, at }));
}

/** The mirrors whose writers live. Also forgets those that have been gone for a day. */
export async function announced(redis: Redis): Promise<Announcement[]> {
  const now = await redisNow(redis);
  const all = await redis.client.hgetall(keys.mirrors);
  const living: Announcement[] = [];
  for (const [tag, text] of Object.entries(all)) {
    const value = parseJson(text);
    const parsed = announcement.safeParse(value);
    if (parsed.success && parsed.data.at > now - SILENT_MS) living.push(parsed.data);
    // One that a later release wrote in another form is not ours to judge: it is left until it is old.
    const when = dated.safeParse(value);
    if (when.success && when.data.at < now - FORGOTTEN_MS) await redis.client.hdel(keys.mirrors, tag);
  }
  return living;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
