/**
 * Two deployments with a Redis each, pointed at one mirror by mistake, take it from each other by a resync in turns. That does no harm (each turn
 * begins at what the mirror holds), but it must not go on at full speed: whoever has lost the mirror again and again waits longer each time, so
 * that turns grow long enough for whole scans. Pure.
 */

/** Reasons of `compareHistories` that another Redis leaves behind. One that came back from a copy does so too, once. */
const OF_OTHERS: ReadonlySet<string> = new Set(['another timeline', 'another history']);
const WINDOW_MS = 10 * 60_000;
/** So often within the window is no accident any more. */
const LOST_MOST = 3;
const FIRST_MS = 5_000;
const MOST_MS = 5 * 60_000;

export const byAnother = (reason: string): boolean => OF_OTHERS.has(reason);

export class Rivals {
  readonly #random: () => number;
  #lostAt: number[] = [];

  constructor(random: () => number) {
    this.#random = random;
  }

  /** A new timeline was begun here for this reason. Milliseconds by any clock that does not go back. */
  begun(reason: string, now: number): void {
    if (byAnother(reason)) this.#lostAt.push(now);
  }

  /** How long to leave the mirror to the other before the next turn; 0: nothing speaks for another. */
  patienceMs(now: number): number {
    this.#lostAt = this.#lostAt.filter((at) => at > now - WINDOW_MS);
    const often = this.#lostAt.length - LOST_MOST;
    // Uneven, so that the two don't wait in step.
    return often < 0 ? 0 : Math.min(MOST_MS, FIRST_MS * 2 ** often) * (0.5 + this.#random());
  }
}
