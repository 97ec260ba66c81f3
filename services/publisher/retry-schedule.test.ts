import { describe, expect, test } from 'vitest';
import { MOST_RETRY_AFTER_MS, nextTryMs, parseRetryAfter, RETRY_SCHEDULE } from './retry-schedule.ts';

const next = (tries: number, { elapsedMs = 0, retryAfterMs = null as number | null, random = 0 } = {}) =>
  nextTryMs({ tries, elapsedMs, retryAfterMs }, RETRY_SCHEDULE, random);

describe('the schedule of the contract', () => {
  test('after 1 s, doubling to 5 min', () => {
    const delays = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 40].map((tries) => next(tries));
    expect(delays).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300].map((s) => s * 1_000));
  });

  test('jitter adds up to a fifth and takes nothing away', () => {
    expect(next(1, { random: 0.999 })).toBeGreaterThan(1_190);
    expect(next(1, { random: 0.999 })).toBeLessThan(1_200);
    expect(next(20, { random: 0.5 })).toBe(330_000);
  });

  test('for 24 h: the last try begins within them', () => {
    const day = 86_400_000;
    expect(next(300, { elapsedMs: day - 300_000 })).toBe(300_000);
    expect(next(300, { elapsedMs: day - 299_999 })).toBeNull();
    let elapsedMs = 0;
    let tries = 1;
    for (let delay = next(1); delay !== null; delay = next(tries, { elapsedMs })) {
      elapsedMs += delay;
      tries++;
    }
    expect(elapsedMs).toBeLessThanOrEqual(day);
    expect(elapsedMs).toBeGreaterThan(day - 300_000);
    expect(tries).toBe(296);
  });

  test('Retry-After is honoured where it asks for more, up to an hour', () => {
    expect(next(1, { retryAfterMs: 30_000 })).toBe(30_000);
    expect(next(5, { retryAfterMs: 1_000 })).toBe(16_000);
    expect(next(1, { retryAfterMs: 1e9 })).toBe(MOST_RETRY_AFTER_MS);
  });
});

describe('Retry-After', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  test.each([
    ['120', 120_000],
    [' 0 ', 0],
    ['Thu, 01 Jan 2026 00:01:30 GMT', 90_000],
    ['Wed, 31 Dec 2025 23:00:00 GMT', 0],
    ['Fri, 02 Jan 2026 00:00:00 GMT', MOST_RETRY_AFTER_MS],
    ['9999999999', MOST_RETRY_AFTER_MS],
    ['-5', null],
    ['1.5', null],
    ['2026', 2_026_000],
    ['soon', null],
    ['', null],
    [undefined, null],
  ])('%j is %j ms', (header, ms) => {
    expect(parseRetryAfter(header, now)).toBe(ms);
  });
});
