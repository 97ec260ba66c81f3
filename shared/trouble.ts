/**
 * What stands in a service's way: for `/readyz` as long as it does, for the log once, and again each minute while it comes back.
 */
import { classify, oneLine } from './errors.ts';
import type { Logger } from './log.ts';

export const REPEAT_MS = 60_000;
/** Different lines that are remembered; beyond it the oldest may be logged sooner again. */
const LINES_MOST = 50;

export class Trouble {
  readonly #log: Pick<Logger, 'warn' | 'error'>;
  readonly #now: () => number;
  /** When each line was logged last. */
  readonly #logged = new Map<string, number>();
  #line: string | null;

  /** @param line what stands in the way from the start */
  constructor(
    log: Pick<Logger, 'warn' | 'error'>,
    line: string | null = null,
    now: () => number = () => performance.now(),
  ) {
    this.#log = log;
    this.#line = line;
    this.#now = now;
  }

  /** One line without values; null: nothing. */
  get line(): string | null {
    return this.#line;
  }

  /** @param what could not be done, as in `read the pool` */
  met(error: unknown, what: string): void {
    const line = `could not ${what}: ${oneLine(error)}`;
    this.#line = line;
    const before = this.#logged.get(line);
    const now = this.#now();
    if (before !== undefined && now - before < REPEAT_MS) return;
    this.#logged.delete(line);
    this.#logged.set(line, now);
    for (const oldest of this.#logged.keys()) {
      if (this.#logged.size <= LINES_MOST) break;
      this.#logged.delete(oldest);
    }
    this.#log[classify(error).action === 'retry' ? 'warn' : 'error']({ err: error }, line);
  }

  over(): void {
    this.#line = null;
  }
}
