/**
 * The way out: a signal stops new work, what is under way is finished, and the process ends before its manager loses patience.
 * Process and clock are passed in.
 */

/** The signals that mean "stop", with the exit code of a process that one of them ends. */
const EXIT_CODES = { SIGTERM: 143, SIGINT: 130 } as const;
type StopSignal = keyof typeof EXIT_CODES;
const STOP_SIGNALS = Object.keys(EXIT_CODES) as StopSignal[];

/** Process managers and npm send the first signal twice, as one to the process and one to its group. */
export const SAME_SIGNAL_MS = 1_000;
/** Kubernetes, compose and the contract give 10 s; the rest is for the exit itself. */
export const DEADLINE_MS = 9_500;

/** `process`, as far as it is used. */
export interface StoppableProcess {
  on(signal: StopSignal, listener: () => void): unknown;
  exit(code: number): void;
}

export interface Clock {
  /** Milliseconds, never going back. */
  now(): number;
  /** @returns a function that takes the call back */
  after(ms: number, call: () => void): () => void;
}

/** The machine's own clock. Its timers do not keep the process alive. */
export const machineClock: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Told what happens; the log may be ready only later. */
export interface ShutdownListener {
  /** @param reason `SIGTERM`, or what `begin` was given */
  stopping(reason: string): void;
  /** The deadline has passed. @param undone the work that was still under way; empty if only closing took so long */
  overdue(undone: readonly string[]): void;
}

export class Shutdown {
  /** Aborted when the process is to stop; its reason is a DOMException named AbortError. */
  readonly signal: AbortSignal;
  /** @see ShutdownListener */
  listener: ShutdownListener = { stopping() {}, overdue() {} };
  readonly #abort = new AbortController();
  readonly #process: StoppableProcess;
  readonly #clock: Clock;
  readonly #undone = new Map<symbol, string>();
  #begunAt: number | null = null;
  #cancelDeadline = (): void => {};

  constructor(process: StoppableProcess, clock: Clock = machineClock) {
    this.#process = process;
    this.#clock = clock;
    this.signal = this.#abort.signal;
    for (const signal of STOP_SIGNALS) process.on(signal, () => this.#received(signal));
  }

  /**
   * Work that an exit would cut off: at the deadline it makes the exit code 1.
   * @returns call it when the work is done
   */
  underWay(name: string): () => void {
    const key = Symbol(name);
    this.#undone.set(key, name);
    return () => void this.#undone.delete(key);
  }

  /** Stops as a signal does. Any further call does nothing. */
  begin(reason: string): void {
    if (this.#begunAt !== null) return;
    this.#begunAt = this.#clock.now();
    this.#cancelDeadline = this.#clock.after(DEADLINE_MS, () => this.#overdue());
    this.listener.stopping(reason);
    this.#abort.abort();
  }

  /**
   * The command has ended: there is no deadline any more. Signals are still listened to: the second one of a pair would kill a
   * process that is about to exit with 0.
   */
  finish(): void {
    this.#cancelDeadline();
  }

  #received(signal: StopSignal): void {
    if (this.#begunAt === null) this.begin(signal);
    else if (this.#clock.now() - this.#begunAt > SAME_SIGNAL_MS) this.#process.exit(EXIT_CODES[signal]);
  }

  #overdue(): void {
    const undone = [...this.#undone.values()];
    this.listener.overdue(undone);
    this.#process.exit(undone.length > 0 ? 1 : 0);
  }
}
