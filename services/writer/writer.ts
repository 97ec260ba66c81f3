/**
 * One mirror's writer: it keeps slot and snapshot in agreement, applies what comes through `changes`, and announces the mirror to the pollers.
 */
import { randomUUID } from 'node:crypto';
import type { Job } from 'bullmq';
import type pg from 'pg';
import { announce } from '../../shared/announcement.ts';
import { type Batch, type Message, parseMessage, UnreadableMessage } from '../../shared/change.ts';
import { backOffMs, observationTime, sleep } from '../../shared/clock.ts';
import { UserFacingError } from '../../shared/errors.ts';
import { recordLatencies } from '../../shared/hint-record.ts';
import { keys, type MirrorTag, queues } from '../../shared/keys.ts';
import type { Logger } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { blankBroken, closeWorker, createWorker } from '../../shared/queue.ts';
import type { Redis } from '../../shared/redis.ts';
import type { PoolSettings } from '../../shared/settings.ts';
import { Trouble } from '../../shared/trouble.ts';
import { type AgreementDoors, agree, compareHistories, type Occasion } from './agreement.ts';
import { type Applied, apply } from './apply.ts';
import { MAX_AGE_MS } from './decide.ts';
import { openMirror } from './mirror-doors.ts';
import type { PostgresLedger } from './postgres-ledger.ts';
import { prune } from './retention.ts';
import { byAnother, Rivals } from './rivals.ts';
import { begin, hold, keepalive } from './scan-marks.ts';
import { targetName } from './slot-setup.ts';
import type { RedisSnapshotStore } from './snapshot-store.ts';
import { countBatch, countCommit, observeLatencies } from './writer-metrics.ts';

/** Between two looks whether slot and snapshot still agree, and two announcements. */
const LOOK_EVERY_MS = 2_000;
const PRUNE_EVERY_MS = 60_000;
const RETRY_FIRST_MS = 200;
const RETRY_MOST_MS = 10_000;
/** Unreadable jobs that are remembered. */
const PARKED_MOST = 1_000;

export class Stopping extends Error {
  override readonly name = 'Stopping';
}

export interface WriterOptions {
  readonly settings: PoolSettings;
  readonly tag: MirrorTag;
  readonly postgres: pg.Pool;
  readonly redis: Redis;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly metrics: Metrics;
}

export class MirrorWriter {
  readonly #options: WriterOptions;
  readonly #ledger: PostgresLedger;
  readonly #snapshot: RedisSnapshotStore;
  /** What stands in the way now; null: nothing. */
  readonly #trouble: Trouble;
  readonly #rivals = new Rivals(Math.random);

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#trouble = new Trouble(options.log, 'it has not agreed with the snapshot yet');
    const { ledger, snapshot } = openMirror(options);
    this.#ledger = ledger;
    this.#snapshot = snapshot;
  }

  /** Why it can't work now; null: it can. */
  trouble(): string | null {
    return this.#trouble.line;
  }

  /** Until the signal; then the batch under way is finished. */
  async run(): Promise<void> {
    const { tag, redis, log, signal } = this.#options;
    try {
      await this.#untilDone('agree with the snapshot', () => this.#agree());
    } catch (error) {
      if (error instanceof Stopping) return;
      throw error;
    }
    const worker = createWorker<unknown, unknown>(queues.changes, tag, redis.client, (job) => this.#process(job), {
      onError: (error, jobId) => {
        if (error instanceof SyntaxError) void this.#blankBroken();
        else if (!(error instanceof Stopping)) log.warn({ err: error, jobId }, 'the queue changes is in trouble');
      },
    });
    const pruning = this.#pruneNowAndThen();
    while (!signal.aborted) {
      try {
        await this.#lookAround();
        this.#trouble.over();
      } catch (error) {
        this.#trouble.met(error, 'watch slot and snapshot');
      }
      await sleep(LOOK_EVERY_MS, signal);
    }
    await Promise.all([closeWorker(worker), pruning]);
  }

  /** CHANGE_RETENTION, beside the batches: what can't be pruned now is pruned the next time. */
  async #pruneNowAndThen(): Promise<void> {
    const { settings, postgres, log, signal } = this.#options;
    const { changeRetentionMs, poolId } = settings;
    while (changeRetentionMs !== null && !signal.aborted) {
      try {
        const { changes, lsn } = await prune(postgres, poolId, changeRetentionMs, { signal });
        if (changes > 0) log.info({ changes, lsn }, 'pruned the change log');
      } catch (error) {
        if (!signal.aborted) log.warn({ err: error }, 'could not prune the change log');
      }
      await sleep(PRUNE_EVERY_MS, signal);
    }
  }

  async #lookAround(): Promise<void> {
    const slot = await this.#ledger.slot();
    // One behind is what every commit leaves for an instant; mending that too does no harm, and where no batch comes any more nobody else would.
    const { state } = compareHistories(slot, await this.#snapshot.read([]));
    if (state !== 'agreed') await this.#agree();

    await this.#announce();
  }

  async #announce(): Promise<void> {
    const { settings, tag, redis } = this.#options;
    const slot = await this.#ledger.slot();
    const { pointer } = await this.#snapshot.read([]);
    const stands = slot.resyncReason === null && pointer?.timeline === slot.timeline;
    await announce(redis, {
      tag,
      pool: settings.poolId,
      target: targetName(settings.targetTable),
      timeline: stands ? slot.timeline : null,
      state: slot.state,
      users: slot.users,
    });
  }

  readonly #agree = async (occasion?: Occasion): Promise<void> => {
    const { tag, redis, log, signal } = this.#options;
    const doors: AgreementDoors = {
      ledger: this.#ledger,
      snapshot: this.#snapshot,
      clock: () => observationTime(redis, tag),
      newId: randomUUID,
      wait: async () => {
        await sleep(RETRY_FIRST_MS, signal);
        if (signal.aborted) throw new Stopping('the service is stopping');
      },
      onResync: (event, reason, users) => {
        if (event === 'begun') this.#rivals.begun(reason, performance.now());
        log.info(
          { reason, users },
          event === 'begun' ? 'resync: a new timeline begins' : 'resync: the snapshot stands',
        );
        if (event === 'begun') this.#options.metrics.resyncs.inc({ pool: this.#options.settings.poolId, reason });
      },
    };
    await this.#leaveToRival();
    await agree(doors, occasion);
  };

  /** Where another deployment takes the mirror again and again, it is left to it for a while. */
  async #leaveToRival(): Promise<void> {
    const { signal } = this.#options;
    const patienceMs = this.#rivals.patienceMs(performance.now());
    if (patienceMs === 0) return;
    const agreement = compareHistories(await this.#ledger.slot(), await this.#snapshot.read([]));
    if (agreement.state !== 'lost' || !byAnother(agreement.reason)) return;
    const warning =
      'another deployment, with another Redis, writes to this mirror too, and each takes it from the other: stop one of them';
    this.#trouble.met(new UserFacingError(warning), 'keep the mirror');
    await sleep(patienceMs, signal);
    if (signal.aborted) throw new Stopping('the service is stopping');
  }

  async #process(job: Job<unknown, unknown>): Promise<unknown> {
    let message: Message;
    try {
      message = parseMessage(job.data);
    } catch (error) {
      if (!(error instanceof UnreadableMessage)) throw error;
      // A later writer may read it, as long as what was observed counts.
      if (error.newer && Date.now() - job.timestamp < MAX_AGE_MS) throw error;
      return await this.#park(job, error);
    }
    const handled = () => this.#untilDone(`apply a ${message.type}`, () => this.#handle(message));
    const { metrics, settings } = this.#options;
    return await (message.type === 'batch' ? countBatch(metrics, settings.poolId, handled) : handled());
  }

  async #handle(message: Message): Promise<unknown> {
    const { settings, log, metrics } = this.#options;
    switch (message.type) {
      case 'batch': {
        const applied = await apply(message, {
          ledger: this.#ledger,
          snapshot: this.#snapshot,
          agree: this.#agree,
          newId: randomUUID,
          guard: { count: settings.deleteGuardCount, percent: settings.deleteGuardPercent },
          onCommit: (commit) => countCommit(metrics, settings.poolId, commit),
        });
        log.debug({ scan: message.scan, ...applied }, 'batch applied');
        if (applied.held > 0) await this.#syncHeld();
        if (message.scan === null && applied.lsn !== null) this.#recordLatencies(message);
        return applied satisfies Applied;
      }
      case 'begin':
        // Users whom the last commit brought and the snapshot doesn't know could not be missed by this scan.
        await this.#agree();
        return await begin(this.#ledger, message);
      case 'hold': {
        const result = await hold(this.#ledger, message);
        await this.#syncHeld();
        return result;
      }
      case 'keepalive': {
        await this.#agree();
        const kept = await keepalive(this.#ledger, this.#snapshot, message);
        await this.#syncHeld();
        const { resyncIntervalMs } = settings;
        if (
          kept.kept &&
          kept.resyncedAt !== null &&
          resyncIntervalMs !== null &&
          message.floor - kept.resyncedAt > resyncIntervalMs
        ) {
          await this.#agree({ reason: 'anti-entropy', timeline: message.timeline });
        }
        return kept;
      }
    }
  }

  /** How long what a refresh found took from Cognito to the commit. For show: the batch doesn't wait for it. */
  #recordLatencies({ changes }: Batch): void {
    const { settings, tag, redis, metrics } = this.#options;
    const now = Date.now();
    const latencies = changes.flatMap((change) =>
      change.kind === 'upsert' && change.row.updatedAt !== null ? [now - change.row.updatedAt] : [],
    );
    observeLatencies(metrics, settings.poolId, latencies);
    recordLatencies(redis, tag, latencies).catch(() => undefined);
  }

  /** Tells the pollers which subs are held, so that they need not look for each of them again in every scan. */
  async #syncHeld(): Promise<void> {
    const { settings, tag, postgres, redis } = this.#options;
    const { rows } = await postgres.query<{ sub: string }>(
      'select sub from cognito_feed.held_deletes where pool = $1',
      [settings.poolId],
    );
    const key = keys.held(tag);
    const pipeline = redis.client.multi().del(key);
    for (let at = 0; at < rows.length; at += 1_000)
      pipeline.sadd(key, ...rows.slice(at, at + 1_000).map(({ sub }) => sub));
    await pipeline.exec();
  }

  /** A job that nobody can read: its id and the reason are kept, its payload isn't. */
  async #park(job: Job<unknown, unknown>, error: UnreadableMessage): Promise<Applied> {
    const { tag, redis, log } = this.#options;
    log.error({ jobId: job.id, reason: error.message }, 'parked a job that can not be read');
    const key = keys.parked(tag);
    await redis.client
      .multi()
      .lpush(key, JSON.stringify({ id: job.id, reason: error.message, at: Date.now() }))
      .ltrim(key, 0, PARKED_MOST - 1)
      .exec();
    return { inserted: 0, updated: 0, deleted: 0, dropped: 1, rejected: 0, held: 0, lsn: null };
  }

  /** BullMQ could not read a job; it is parked when it comes again. */
  async #blankBroken(): Promise<void> {
    const { tag, redis, log } = this.#options;
    try {
      const jobs = await blankBroken(redis, tag, queues.changes);
      if (jobs.length > 0) log.error({ jobs }, 'jobs whose payload is no JSON: they will be parked');
    } catch (error) {
      log.warn({ err: error }, 'could not look for jobs that nobody can read');
    }
  }

  /** Tries in place until it is done: an outage is waited for here, where nothing else of the pool can overtake. */
  async #untilDone<T>(what: string, work: () => Promise<T>): Promise<T> {
    const { signal } = this.#options;
    for (let attempt = 0; ; attempt++) {
      if (signal.aborted && attempt > 0) throw new Stopping('the service is stopping');
      try {
        const result = await work();
        this.#trouble.over();
        return result;
      } catch (error) {
        if (error instanceof Stopping) throw error;
        this.#trouble.met(error, what);
        await sleep(backOffMs(attempt, RETRY_FIRST_MS, RETRY_MOST_MS), signal);
      }
    }
  }
}
