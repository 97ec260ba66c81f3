import { describe, expect, it } from 'vitest';
import { formatDuration, LONGEST_DURATION_MS, parseDuration } from './duration.ts';

describe('durations', () => {
  it.each([
    ['100ms', 100],
    ['500ms', 500],
    ['30s', 30_000],
    ['10m', 600_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
    ['3650d', LONGEST_DURATION_MS],
  ])('%s is %i ms, and back', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
    expect(formatDuration(ms)).toBe(text);
  });

  it.each([
    '',
    '30',
    's',
    '99ms',
    '0s',
    '-5s',
    '1.5s',
    '1e3s',
    '30 s',
    '30S',
    '1w',
    '5min',
    '1h30m',
    '3651d',
    `${'9'.repeat(400)}s`,
    '٣s',
  ])('refuses %j', (text) => {
    expect(parseDuration(text)).toBeNull();
  });
});
