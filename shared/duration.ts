/**
 * Durations as people write them in settings: `500ms`, `30s`, `10m`, `24h`, `7d`. Pure.
 */
const MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Shorter than this is a mistake in the unit, not a wish. */
export const SHORTEST_DURATION_MS = 100;
/** Ten years. Beyond it a sum with the clock still is a date that Postgres and JavaScript share. */
export const LONGEST_DURATION_MS = 3_650 * MS.d;

/**
 * @param text a whole number and its unit, nothing between them
 * @returns whole milliseconds, or null where the text is no duration from 100ms to 3650d
 */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text);
  if (match === null) return null;
  const ms = Number(match[1]) * MS[match[2] as keyof typeof MS];
  return ms >= SHORTEST_DURATION_MS && ms <= LONGEST_DURATION_MS ? ms : null;
}

/** The shortest exact way to write it: 90000 is `90s`, 86400000 `24h`, 604800000 `7d`. */
export function formatDuration(ms: number): string {
  if (ms > MS.d && ms % MS.d === 0) return `${ms / MS.d}d`;
  for (const unit of ['h', 'm', 's'] as const)
    if (ms >= MS[unit] && ms % MS[unit] === 0) return `${ms / MS[unit]}${unit}`;
  return `${ms}ms`;
}
