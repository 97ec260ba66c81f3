/** Which changes of the pool have arrived in the mirror, and how long they took. Pure. */
import type { ChurnStep } from '../../../test/emulator/churn.ts';
import { type JsonRow, wordOfRow, wordOfUser } from './comparison.ts';

/** A row of `cognito_feed.changes`. */
export interface LoggedChange {
  readonly lsn: number;
  readonly op: 'read' | 'insert' | 'update' | 'delete';
  readonly sub: string;
  readonly changed: readonly string[];
  readonly new: JsonRow | null;
  /** Milliseconds since the epoch, by Postgres's clock. */
  readonly committedAt: number;
}

export interface Arrival {
  readonly step: ChurnStep;
  readonly change: LoggedChange;
  /** From the pool's change to the commit, milliseconds. */
  readonly latencyMs: number;
}

interface Pending {
  readonly step: ChurnStep;
  readonly madeAt: number;
  /** What the user is after the step; null: gone. */
  readonly word: string | null;
}

export class UnderWay {
  readonly #pending = new Map<string, Pending[]>();
  #size = 0;
  #unseen = 0;

  /** How many have not arrived yet. */
  get size(): number {
    return this.#size;
  }

  /** How many came and went between two scans: the mirror went straight to what came after them. */
  get unseen(): number {
    return this.#unseen;
  }

  /** @param madeAt milliseconds since the epoch */
  made(step: ChurnStep, madeAt: number): void {
    const steps = this.#pending.get(step.sub) ?? [];
    steps.push({ step, madeAt, word: step.after === undefined ? null : wordOfUser(step.after) });
    this.#pending.set(step.sub, steps);
    this.#size++;
  }

  /**
   * The step that this change is, if it is one of ours. Earlier ones of the same user that have not arrived were not seen.
   * @param clockAheadMs by how much Postgres's clock is ahead of ours
   */
  arrived(change: LoggedChange, clockAheadMs: number): Arrival | null {
    const steps = this.#pending.get(change.sub) ?? [];
    const word = change.new === null ? null : wordOfRow(change.new);
    const committedAt = change.committedAt - clockAheadMs;
    // Disabled, enabled and disabled again is the same user: the last one that can be meant.
    const place = steps.findLastIndex((step) => step.word === word && step.madeAt <= committedAt);
    // A deleted user's other steps can't arrive any more; a reuse deletes without a step of that sub.
    const gone = change.op === 'delete' ? steps.length : place + 1;
    const found = steps[place];
    this.#forget(change.sub, gone);
    if (found === undefined) {
      this.#unseen += gone;
      return null;
    }
    this.#unseen += gone - 1;
    return { step: found.step, change, latencyMs: committedAt - found.madeAt };
  }

  /** A complete scan that began at this time has been applied, and all its changes have been told: what was made before it is in the mirror. */
  applied(asOf: number): void {
    for (const [sub, steps] of this.#pending) {
      const next = steps.findIndex(({ madeAt }) => madeAt >= asOf);
      const gone = next < 0 ? steps.length : next;
      this.#unseen += gone;
      this.#forget(sub, gone);
    }
  }

  #forget(sub: string, count: number): void {
    const steps = this.#pending.get(sub);
    if (steps === undefined) return;
    this.#size -= steps.splice(0, count).length;
    if (steps.length === 0) this.#pending.delete(sub);
  }
}

/** @returns the value below which this part of the values lies; 0 for none */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}
