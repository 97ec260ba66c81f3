/** Whether a running deployment is about to scan: what it has not seen yet is no drift. */
import { observationTime, sleep } from '../../../shared/clock.ts';
import { keys, type MirrorTag } from '../../../shared/keys.ts';
import type { Redis } from '../../../shared/redis.ts';
import { readScans } from '../../../shared/scan-record.ts';

/** A scan that is further away is not waited for. */
const SOON_MS = 35_000;
const MOST_MS = 60_000;
const LOOK_EVERY_MS = 250;

/**
 * Waits for a scan that begins after now, where a poller lives and one is due soon.
 * @returns whether one was applied
 */
export async function nextScan(
  redis: Redis,
  tag: MirrorTag,
  pollIntervalMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const from = await observationTime(redis, tag);
  for (;;) {
    signal.throwIfAborted();
    // The lease is a living poller's; it runs out some seconds after its death.
    if ((await redis.client.exists(keys.lease(tag))) === 0) return false;
    const { current, last, endedAt } = await readScans(redis, tag);
    if (last !== null && last.floor > from) return last.complete;
    const now = await observationTime(redis, tag);
    if (now - from > MOST_MS || pollIntervalMs > MOST_MS) return false;
    if (current === null && endedAt + pollIntervalMs - now > SOON_MS) return false;
    await sleep(LOOK_EVERY_MS, signal);
  }
}
