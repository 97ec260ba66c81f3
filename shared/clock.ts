/**
 * The one clock that observations are stamped by: Redis's, through a script that never goes back, whatever the host's clock does or
 * which replica is promoted (ARCHITECTURE.md; DESIGN "Order", rule 1).
 */
import { keys, type MirrorTag } from './keys.ts';
import type { Redis } from './redis.ts';

const CLOCK_LUA = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
if now <= last then now = last + 1 end
now = string.format('%.0f', now)
redis.call('SET', KEYS[1], now)
return now
`;

/**
 * Milliseconds since the epoch; each later than what it gave before: were two the same while the host stands behind, a scan that was asked for
 * would look as if it had been made, and news as if it were known. One round trip.
 */
export async function observationTime(redis: Redis, tag: MirrorTag): Promise<number> {
  return Number(await redis.script(CLOCK_LUA, [keys.clock(tag)], []));
}

/** Resolves after so many milliseconds, or at once when the signal is aborted. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Doubles from `firstMs` to `mostMs`, with a fifth of jitter either way. `attempt` counts from 0. */
export function backOffMs(
  attempt: number,
  firstMs: number,
  mostMs: number,
  random: () => number = Math.random,
): number {
  return Math.min(mostMs, firstMs * 2 ** Math.min(attempt, 20)) * (0.8 + 0.4 * random());
}
