/**
 * One target of one pool, for as long as the service runs: stands by, or follows the change log and delivers. ARCHITECTURE.md, "The publisher", has
 * the argument; the numbers here are its steps.
 */
import type { lookup } from 'node:dns';
import type pg from 'pg';
import { CannotFollow, ChangeLogReader, idleMs, WHOLE_COMMIT } from '../../shared/change-log.ts';
import { backOffMs, sleep } from '../../shared/clock.ts';
import { classify, oneLine } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { machineClock } from '../../shared/shutdown.ts';
import { BACKLOG_LIMITS, Backlog, type BacklogLimits, type Checkpoint } from './backlog.ts';
import type { Delivery, Target } from './delivery.ts';
import { Dispatcher } from './dispatcher.ts';
import { RETRY_SCHEDULE, type RetrySchedule } from './retry-schedule.ts';
import { type Lease, LeaseLost, Subscription } from './subscription.ts';

/** What only tests change. */
export interface PublisherTuning {
  readonly schedule?: RetrySchedule;
  readonly limits?: BacklogLimits;
  /** How long a publisher that is gone keeps others from its targets. */
  readonly leaseMs?: number;
  /** Of one webhook request. */
  readonly webhookTimeoutMs?: number;
  /** Of a webhook's host. */
  readonly lookup?: typeof lookup;
}

export interface TargetPublisherOptions {
  readonly pool: string;
  readonly target: Target;
  readonly postgres: pg.Pool;
  /** A random id of this process. */
  readonly holder: string;
  readonly log: Logger;
  readonly tuning?: PublisherTuning;
  readonly metrics?: Metrics;
}

const LEASE_MS = 10_000;
/** Between two looks of who stands by, and before a target that can't be followed is looked at again. */
const STAND_BY_MS = 1_000;
const CHECKPOINT_EVERY_MS = 200;
const CLAIM_EVERY_MS = 1_000;
const ROOM_EVERY_MS = 20;
const PAGE_MOST = 500;
/** For deliveries under way when the service stops; the contract gives all of it 10 s. */
const GRACE_MS = 5_000;
const RETRY_FIRST_MS = 200;
const RETRY_MOST_MS = 5_000;

export class TargetPublisher {
  readonly #options: TargetPublisherOptions;
  readonly #subscription: Subscription;
  readonly #leaseMs: number;
  #trouble: string | null = 'starting';

  constructor(options: TargetPublisherOptions) {
    this.#options = options;
    const { pool, target, postgres, holder, tuning = {} } = options;
    this.#leaseMs = tuning.leaseMs ?? LEASE_MS;
    this.#subscription = new Subscription(postgres, { name: target.name, pool }, holder, this.#leaseMs);
  }

  /** Why it can't work now; null: it delivers, or stands by for another that does. */
  trouble(): string | null {
    return this.#trouble;
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    let standingBy = false;
    for (let failures = 0; !signal.aborted; ) {
      try {
        const lease = await this.#subscription.take();
        if (lease !== null) {
          standingBy = false;
          await this.#deliver(lease, signal);
        } else if (!standingBy) {
          standingBy = true;
          this.#options.log.info('standing by: another publisher delivers');
        }
        this.#trouble = null;
        failures = 0;
        if (lease === null) await sleep(STAND_BY_MS, signal);
      } catch (error) {
        if (error instanceof LeaseLost) this.#options.log.warn('another publisher has taken over; standing by');
        else this.#troubled(error);
        await sleep(
          error instanceof CannotFollow ? STAND_BY_MS : backOffMs(failures++, RETRY_FIRST_MS, RETRY_MOST_MS),
          signal,
        );
      }
    }
  }

  /** Steps 2 to 8. @throws LeaseLost, CannotFollow, or what Postgres throws for longer than a lease */
  async #deliver(lease: Lease, signal: AbortSignal): Promise<void> {
    const { pool, target, postgres, log, tuning = {}, metrics } = this.#options;
    const reader = new ChangeLogReader(postgres, pool);
    const backlog = new Backlog(lease.position, tuning.limits ?? BACKLOG_LIMITS);
    const dispatcher = new Dispatcher({
      target,
      backlog,
      schedule: tuning.schedule ?? RETRY_SCHEDULE,
      clock: machineClock,
      wallClock: Date.now,
      random: Math.random,
      load: (position) => reader.at(position),
      mayDeliver: () => lease.valid,
      log,
      onOutcome: (outcome) => metrics?.deliveries.inc({ pool, target: target.name, outcome }),
    });
    log.info({ ...lease.position }, 'delivering what follows this position');
    const failed = new AbortController();
    const stop = AbortSignal.any([signal, failed.signal]);
    const claims = new Claims();
    const work = [
      this.#follow(reader, backlog, dispatcher, claims, stop),
      this.#keep(lease, backlog, dispatcher, claims, stop),
    ];
    for (const part of work) part.catch(() => failed.abort());
    const outcomes = await Promise.allSettled(work);
    await dispatcher.stop(signal.aborted ? GRACE_MS : 0);
    const reasons = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    const lost = reasons.find((reason) => reason instanceof LeaseLost);
    if (lost !== undefined) throw lost;
    await this.#leave(lease, backlog);
    if (reasons.length > 0) throw reasons[0];
  }

  /** Step 3, again and again. */
  async #follow(
    reader: ChangeLogReader,
    backlog: Backlog,
    dispatcher: Dispatcher,
    claims: Claims,
    stop: AbortSignal,
  ): Promise<void> {
    const { target } = this.#options;
    let empty = 0;
    let failures = 0;
    while (!stop.aborted) {
      // What an earlier holder owed comes before what follows it.
      if (!claims.all || backlog.room === 0) {
        await sleep(ROOM_EVERY_MS, stop);
        continue;
      }
      try {
        const most = Math.min(PAGE_MOST, backlog.room);
        const { changes, end } = await reader.read(backlog.readUpTo, { rowsOfReads: false, most });
        if (stop.aborted) return;
        backlog.read(
          changes.filter((change) => target.wants(change)),
          end,
        );
        dispatcher.pump();
        this.#trouble = null;
        failures = 0;
        empty = changes.length === 0 ? empty + 1 : 0;
        if (empty > 0) await sleep(idleMs(empty - 1), stop);
      } catch (error) {
        if (error instanceof CannotFollow) throw error;
        this.#troubled(error);
        await sleep(backOffMs(failures++, RETRY_FIRST_MS, RETRY_MOST_MS), stop);
      }
    }
  }

  /** Steps 2 and 7: the lease is renewed and what is settled is written, a few times a second. */
  async #keep(
    lease: Lease,
    backlog: Backlog,
    dispatcher: Dispatcher,
    claims: Claims,
    stop: AbortSignal,
  ): Promise<void> {
    const renewEveryMs = this.#leaseMs / 3;
    let renewedAt = performance.now();
    while (!stop.aborted) {
      try {
        const due = performance.now() - renewedAt >= renewEveryMs;
        const checkpoint = backlog.checkpoint();
        if (checkpoint !== null || due) {
          dispatcher.await(await this.#write(lease, backlog, checkpoint));
          renewedAt = performance.now();
          dispatcher.pump();
        }
        if (claims.due(performance.now()) && backlog.room > 0) {
          const most = backlog.room;
          const rows = await lease.claim(most);
          dispatcher.await(backlog.claimed(rows));
          claims.made(performance.now(), rows.length < most);
          dispatcher.pump();
        }
      } catch (error) {
        if (error instanceof LeaseLost) throw error;
        this.#troubled(error);
      }
      await sleep(Math.min(CHECKPOINT_EVERY_MS, renewEveryMs), stop);
    }
  }

  /** @returns deliveries whose turn it is now but who are not due yet */
  async #write(lease: Lease, backlog: Backlog, checkpoint: Checkpoint | null): Promise<Delivery[]> {
    try {
      await lease.write(checkpoint);
      return checkpoint === null ? [] : backlog.written(checkpoint);
    } catch (error) {
      if (checkpoint !== null) backlog.restore(checkpoint);
      throw error;
    }
  }

  /** Step 8. Where Postgres is away the lease runs out by itself. */
  async #leave(lease: Lease, backlog: Backlog): Promise<void> {
    try {
      await lease.write(backlog.checkpoint());
      await lease.release();
    } catch (error) {
      this.#options.log.warn({ err: error }, 'could not write the last position: what follows it is delivered again');
    }
  }

  #troubled(error: unknown): void {
    const { log, pool, target } = this.#options;
    const line = error instanceof CannotFollow ? advice(error, target.name, pool) : oneLine(error);
    if (line !== this.#trouble) {
      const isRetried = !(error instanceof CannotFollow) && classify(error).action === 'retry';
      log[isRetried ? 'warn' : 'error'](error instanceof CannotFollow ? {} : { err: error }, line);
    }
    this.#trouble = line;
  }
}

/** When `pending_deliveries` was last looked at, and whether everything there is in memory. */
class Claims {
  all = false;
  #at = Number.NEGATIVE_INFINITY;

  due(now: number): boolean {
    return !this.all || now - this.#at >= CLAIM_EVERY_MS;
  }

  made(now: number, all: boolean): void {
    this.#at = now;
    this.all = all;
  }
}

/** Nothing is skipped unless an operator says so, by the statement that is given here. */
function advice({ reason, message, lsn }: CannotFollow, name: string, pool: string): string {
  if (reason === 'no-slot') return message;
  const row = `where name = '${name.replaceAll("'", "''")}' and pool = '${pool.replaceAll("'", "''")}'`;
  const skip = `update cognito_feed.subscriptions set confirmed_lsn = ${lsn}, confirmed_seq = ${WHOLE_COMMIT} ${row}`;
  const anew = `delete from cognito_feed.subscriptions ${row}`;
  return reason === 'behind'
    ? `${message} without being delivered to ${name}. To go on with what is left: ${skip}; to start at the current LSN: ${anew}`
    : `${message}. To start at the current LSN: ${anew}`;
}
