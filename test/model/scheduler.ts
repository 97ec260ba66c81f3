/**
 * Time and chance of a model run. Every call of a door is a step that waits here until it is chosen; between two steps of one process any other
 * may run, and the process may crash or be stopped. Nothing in a run takes real time: after each step the microtasks are drained, so that whoever
 * can go on has gone on to its next step.
 */
import { Random } from './random.ts';

/** A rule of DESIGN.md is broken. It ends the run, past everything that catches errors. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** What a door throws when something behind it is away. Whoever calls tries again. */
export class Outage extends Error {
  override readonly name = 'Outage';
}

interface Step {
  readonly process: Process;
  readonly what: string;
  readonly ready: () => boolean;
  /** When it becomes ready by itself; null: not by time. */
  readonly wakeAt: number | null;
  readonly perform: () => void;
  readonly refuse: (error: unknown) => void;
}

/** `before`: the request never arrives. `after`: it is done and the answer is lost. */
export type Fault = 'before' | 'after';

/** A replica. Its threads run while it is neither stopped nor dead. */
export class Process {
  readonly name: string;
  stopped = false;
  dead = false;
  /** Of its next step. */
  fault: Fault | null = null;

  constructor(name: string) {
    this.name = name;
  }

  get running(): boolean {
    return !this.stopped && !this.dead;
  }
}

/** The longest that one step takes. */
const STEP_MS = 8;

const drained = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

export class Scheduler {
  /** Milliseconds; 2026-01-01. */
  now = 1_767_225_600_000;
  random = new Random(1);
  /** Steps done. */
  steps = 0;
  /** Each step as it was done, where a reader wants to know. */
  trace: ((line: string) => void) | null = null;
  #pending: Step[] = [];
  #violation: unknown = null;
  #last: Process | null = null;

  /** Ends the run. */
  fail(violation: unknown): void {
    this.#violation ??= violation;
  }

  check(holds: boolean, rule: string): void {
    if (!holds) this.fail(new Violation(rule));
  }

  /** Resolves when the step was chosen and done. Never, where its process dies first. */
  step<T>(owner: Process, what: string, effect: () => T, ready: () => boolean = always): Promise<T> {
    return this.#enqueue(owner, what, effect, ready, null);
  }

  async sleep(owner: Process, ms: number): Promise<void> {
    const wakeAt = this.now + ms;
    await this.#enqueue(
      owner,
      'sleep',
      () => undefined,
      () => this.now >= wakeAt,
      wakeAt,
    );
  }

  #enqueue<T>(owner: Process, what: string, effect: () => T, ready: () => boolean, wakeAt: number | null): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#pending.push({ process: owner, what, ready, wakeAt, perform: () => resolve(effect()), refuse: reject });
    });
  }

  kill(owner: Process): void {
    owner.dead = true;
    this.#pending = this.#pending.filter((step) => step.process !== owner);
  }

  /** Does up to so many steps; fewer where nobody can do anything any more. `only`: all others stand still meanwhile. */
  async go(steps: number, only: Process | null = null): Promise<number> {
    await this.#rest();
    for (let done = 0; done < steps; done++) {
      const step = this.#choose(only);
      if (step === null) return done;
      await this.#do(step);
    }
    return steps;
  }

  #choose(only: Process | null): Step | null {
    for (;;) {
      const able = this.#pending.filter((one) => one.process.running && (only === null || one.process === only));
      const ready = able.filter((one) => one.ready());
      // Bursts of one process reach states that even shares rarely do.
      const same = ready.filter((one) => one.process === this.#last);
      const from = same.length > 0 && this.random.chance(2) ? same : ready;
      if (from.length > 0) return this.random.pick(from);
      const wakes = able.flatMap(({ wakeAt }) => (wakeAt === null ? [] : [wakeAt]));
      if (wakes.length === 0) return null;
      this.now = Math.max(this.now + 1, Math.min(...wakes));
    }
  }

  async #do(step: Step): Promise<void> {
    const owner = step.process;
    this.#pending.splice(this.#pending.indexOf(step), 1);
    this.#last = owner;
    this.steps++;
    this.now += this.random.below(STEP_MS);
    const { fault } = owner;
    const faulty = fault !== null && step.wakeAt === null;
    this.trace?.(`${owner.name}: ${step.what}${faulty ? ` (fault ${fault})` : ''}`);
    if (faulty) owner.fault = null;
    try {
      if (faulty && fault === 'before') step.refuse(new Outage(`${step.what}: the connection was lost`));
      else if (faulty) this.#performUnanswered(step);
      else step.perform();
    } catch (error) {
      step.refuse(error);
    }
    await this.#rest();
  }

  /** Done, but whoever asked hears of an outage: a promise settles once, so the refusal goes first. */
  #performUnanswered(step: Step): void {
    step.refuse(new Outage(`${step.what}: the answer was lost`));
    step.perform();
  }

  async #rest(): Promise<void> {
    await drained();
    if (this.#violation !== null) throw this.#violation;
  }
}

const always = (): boolean => true;
