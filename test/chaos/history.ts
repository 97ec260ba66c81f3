/**
 * What the pool really was, as the process that changes it wrote it down: each state that each user ever had, and when the lists told the truth.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

/** Milliseconds since the epoch, by the machine's clock, which Redis and Postgres share. */
export type HistoryLine =
  /** From then on the user was so; null: from then on it was gone. */
  | { readonly at: number; readonly sub: string; readonly username: string; readonly state: string | null }
  /** From then on the lists tell the truth (or may lie). */
  | { readonly at: number; readonly truthful: boolean };

export class HistoryFile {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, 'a');
  }

  write(line: HistoryLine): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}

export interface UserHistory {
  readonly username: string;
  /** In order. A null state is the last one: a sub never comes back. */
  readonly states: { readonly at: number; readonly state: string | null }[];
}

export interface PoolHistory {
  /** By sub. */
  readonly users: ReadonlyMap<string, UserHistory>;
  /** Times between which the lists told the truth. */
  readonly truthful: readonly { readonly from: number; readonly to: number }[];
  /** Changes made to the pool, its first filling among them. */
  readonly made: number;
}

export function readHistory(path: string): PoolHistory {
  const lines = readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as HistoryLine);
  return historyOf(lines);
}

export function historyOf(lines: readonly HistoryLine[]): PoolHistory {
  const users = new Map<string, UserHistory>();
  const truthful: { from: number; to: number }[] = [];
  let since: number | null = null;
  let made = 0;
  for (const line of lines) {
    if ('truthful' in line) {
      if (line.truthful) since ??= line.at;
      else if (since !== null) {
        truthful.push({ from: since, to: line.at });
        since = null;
      }
      continue;
    }
    const { at, sub, username, state } = line;
    const known = users.get(sub);
    if (known === undefined) users.set(sub, { username, states: [{ at, state }] });
    else known.states.push({ at, state });
    made++;
  }
  if (since !== null) truthful.push({ from: since, to: Number.POSITIVE_INFINITY });
  return { users, truthful, made };
}
