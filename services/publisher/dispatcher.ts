/**
 * Sends what the backlog has ready, so many at once, and tries again what failed. How many at once follows the receiver: one more for each success,
 * half for a failure, so that one in trouble isn't trampled and one that is well is used.
 */
import { setMaxListeners } from 'node:events';
import type { LoggedChange, Position } from '../../shared/change-log.ts';
import type { Logger } from '../../shared/log.ts';
import type { Clock } from '../../shared/shutdown.ts';
import type { Backlog } from './backlog.ts';
import type { Delivery, Outcome, Target } from './delivery.ts';
import { nextTryMs, type RetrySchedule } from './retry-schedule.ts';

export interface DispatcherDoors {
  readonly target: Target;
  readonly backlog: Backlog;
  readonly schedule: RetrySchedule;
  readonly clock: Clock;
  /** Milliseconds since the epoch. */
  readonly wallClock: () => number;
  readonly random: () => number;
  /** A change by its position; null: it has left the log. */
  readonly load: (position: Position) => Promise<LoggedChange | null>;
  /** Whether this publisher still holds the lease. */
  readonly mayDeliver: () => boolean;
  readonly log: Logger;
  /** Told how each try ended. */
  readonly onOutcome?: (kind: Exclude<Outcome['kind'], 'interrupted'>) => void;
}

/** A receiver that fails is news once in so long. */
const WARN_EVERY_MS = 60_000;

export class Dispatcher {
  readonly #doors: DispatcherDoors;
  readonly #flights = new Set<Promise<void>>();
  readonly #timers = new Map<Delivery, () => void>();
  readonly #cut = new AbortController();
  #parallel: number;
  #stopped = false;
  #failing = false;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(doors: DispatcherDoors) {
    this.#doors = doors;
    this.#parallel = Math.min(doors.target.parallel[1], 2 * doors.target.parallel[0]);
    // Each request under way listens.
    setMaxListeners(0, this.#cut.signal);
  }

  /** Sends what is ready, as far as there is room. To be called whenever something may have become ready. */
  pump(): void {
    const { backlog, target, mayDeliver } = this.#doors;
    while (!this.#stopped && this.#flights.size < this.#parallel && mayDeliver()) {
      const batch = backlog.take(target.most);
      if (batch.length === 0) return;
      const flight = this.#fly(batch).finally(() => {
        this.#flights.delete(flight);
        this.pump();
      });
      this.#flights.add(flight);
    }
  }

  /** Deliveries that wait for their time. */
  await(delayed: readonly Delivery[]): void {
    const { backlog, clock, wallClock } = this.#doors;
    if (this.#stopped) return;
    for (const delivery of delayed) {
      const ms = Math.max(0, (delivery.nextTryAt ?? 0) - wallClock());
      const cancel = clock.after(ms, () => {
        this.#timers.delete(delivery);
        backlog.due(delivery);
        this.pump();
      });
      this.#timers.set(delivery, cancel);
    }
  }

  /** Starts nothing any more; waits for what is under way, for so long, then cuts it off. */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    for (const cancel of this.#timers.values()) cancel();
    const cancel = this.#doors.clock.after(graceMs, () => this.#cut.abort());
    await Promise.all(this.#flights);
    cancel();
  }

  async #fly(batch: readonly Delivery[]): Promise<void> {
    const { backlog, target, wallClock } = this.#doors;
    const loaded: { delivery: Delivery; change: LoggedChange }[] = [];
    for (const delivery of batch) {
      const change = delivery.change ?? (await this.#load(delivery));
      if (change !== null) loaded.push({ delivery, change });
    }
    if (loaded.length === 0) return;
    const startedAt = wallClock();
    const changes = loaded.map(({ change }) => change);
    const outcomes = await target.deliver(changes, this.#cut.signal).catch((error: unknown) => {
      this.#doors.log.error({ err: error }, 'a target failed in a way that it should not');
      return [];
    });
    const failed = outcomes.length < loaded.length || outcomes.some(({ kind }) => kind === 'failed');
    const [least, most] = target.parallel;
    this.#parallel = failed ? Math.max(least, Math.floor(this.#parallel / 2)) : Math.min(most, this.#parallel + 1);
    loaded.forEach(({ delivery }, i) => {
      const outcome = outcomes[i] ?? { kind: 'failed', reason: 'no answer for it', retryAfterMs: null };
      if (outcome.kind === 'interrupted') backlog.interrupted(delivery);
      else this.#settle(delivery, outcome, startedAt);
    });
  }

  /** Settles what can't be loaded itself. */
  async #load(delivery: Delivery): Promise<LoggedChange | null> {
    const { backlog, load, log, wallClock } = this.#doors;
    try {
      const change = await load(delivery.position);
      if (change !== null && change.timeline === delivery.timeline) {
        backlog.loaded(delivery, change);
        return change;
      }
      delivery.reason = [delivery.reason, 'the change has left the change log'].filter((it) => it !== null).join('; ');
      backlog.died(delivery);
    } catch (error) {
      // Postgres is away: no try was made.
      log.debug({ err: error }, 'could not read a change again');
      backlog.failed(delivery);
      delivery.nextTryAt = wallClock() + this.#doors.schedule.firstMs;
      this.await([delivery]);
    }
    return null;
  }

  #settle(delivery: Delivery, outcome: Exclude<Outcome, { kind: 'interrupted' }>, startedAt: number): void {
    const { backlog, schedule, random, wallClock } = this.#doors;
    this.#doors.onOutcome?.(outcome.kind);
    delivery.tries++;
    delivery.firstTriedAt ??= startedAt;
    if (outcome.kind === 'delivered') {
      this.#well();
      this.await(backlog.delivered(delivery));
      return;
    }
    this.#unwell(delivery, outcome.reason);
    delivery.reason = outcome.reason;
    const elapsedMs = wallClock() - delivery.firstTriedAt;
    const retryAfterMs = outcome.kind === 'failed' ? outcome.retryAfterMs : null;
    const ms =
      outcome.kind === 'refused'
        ? null
        : nextTryMs({ tries: delivery.tries, elapsedMs, retryAfterMs }, schedule, random());
    if (ms === null) {
      this.#bury(delivery, outcome.kind);
      return;
    }
    delivery.nextTryAt = wallClock() + ms;
    backlog.failed(delivery);
    this.await([delivery]);
  }

  #bury(delivery: Delivery, kind: 'failed' | 'refused'): void {
    const { log, backlog } = this.#doors;
    const { position, tries, reason } = delivery;
    log.error(
      { ...position, tries, reason },
      kind === 'refused' ? 'refused: a dead letter' : 'given up: a dead letter',
    );
    backlog.died(delivery);
  }

  #well(): void {
    if (this.#failing) this.#doors.log.debug('the target accepts changes again');
    this.#failing = false;
  }

  #unwell({ position, tries }: Delivery, reason: string): void {
    const { log, clock } = this.#doors;
    const now = clock.now();
    const isNews = !this.#failing && now - this.#warnedAt > WARN_EVERY_MS;
    log[isNews ? 'warn' : 'debug']({ ...position, tries, reason }, `a delivery failed and is tried again: ${reason}`);
    if (isNews) this.#warnedAt = now;
    this.#failing = true;
  }
}
