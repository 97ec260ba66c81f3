/** When a delivery that failed is tried again. Pure. */

export interface RetrySchedule {
  readonly firstMs: number;
  readonly mostMs: number;
  /** From the first try; a try that would begin later is not made. */
  readonly giveUpAfterMs: number;
}

/** CONTRACT: after 1 s, doubling to 5 min, for 24 h. */
export const RETRY_SCHEDULE: RetrySchedule = { firstMs: 1_000, mostMs: 300_000, giveUpAfterMs: 86_400_000 };

/** Up to a fifth more, so that what failed together doesn't come back together; never less. */
const JITTER = 0.2;
/** A receiver may ask for patience, but not for silence. */
export const MOST_RETRY_AFTER_MS = 3_600_000;

export interface Failed {
  /** Tries made, this one included. */
  readonly tries: number;
  /** Since the first try began. */
  readonly elapsedMs: number;
  /** What the receiver asked for; null: nothing. */
  readonly retryAfterMs: number | null;
}

/** @param random 0 to 1. @returns milliseconds until the next try; null: give up */
export function nextTryMs(
  { tries, elapsedMs, retryAfterMs }: Failed,
  schedule: RetrySchedule,
  random: number,
): number | null {
  const own = Math.min(schedule.mostMs, schedule.firstMs * 2 ** Math.min(tries - 1, 30)) * (1 + JITTER * random);
  const delayMs = Math.max(own, Math.min(retryAfterMs ?? 0, MOST_RETRY_AFTER_MS));
  return elapsedMs + delayMs > schedule.giveUpAfterMs ? null : delayMs;
}

/**
 * `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
 * @returns milliseconds; null where there is none that makes sense
 */
export function parseRetryAfter(header: string | undefined, nowMs: number): number | null {
  const text = header?.trim() ?? '';
  if (/^\d{1,10}$/.test(text)) return Math.min(Number(text) * 1_000, MOST_RETRY_AFTER_MS);
  // Only dates with a month's name: Date.parse would read much else.
  const date = /[A-Za-z]{3}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? null : Math.min(Math.max(date - nowMs, 0), MOST_RETRY_AFTER_MS);
}
