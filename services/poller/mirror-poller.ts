/**
 * One mirror's poller: conducts its scans, walks their shards. Any number of replicas do so side by side. It holds no state of its own.
 */
import { setMaxListeners } from 'node:events';
import { type Job, type Queue, WaitingChildrenError } from 'bullmq';
import { WIRE_VERSION } from '../../shared/change.ts';
import { observationTime, sleep } from '../../shared/clock.ts';
import type { UserPool } from '../../shared/cognito.ts';
import { classify, oneLine, UserFacingError } from '../../shared/errors.ts';
import { keys, type MirrorTag, queues } from '../../shared/keys.ts';
import type { Logger } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import { closeQueue, closeWorker, createQueue, createWorker } from '../../shared/queue.ts';
import type { Redis } from '../../shared/redis.ts';
import { readScans, readSharding, recordEnd, recordEstimate, recordSharding } from '../../shared/scan-record.ts';
import type { PoolSettings } from '../../shared/settings.ts';
import { SnapshotReader } from '../../shared/snapshot.ts';
import { Trouble } from '../../shared/trouble.ts';
import type { Budget } from './budget.ts';
import { awaitChildren, ChildrenForgotten } from './children.ts';
import { Conductor } from './conductor.ts';
import { DeleteWindow } from './delete-window.ts';
import { diff } from './diff.ts';
import type { HintQueue } from './hint-queue.ts';
import { type MissingOutcome, settleMissing } from './missing.ts';
import { Outbox } from './outbox.ts';
import { PoolFailure, PoolReader } from './pages.ts';
import { exactLook, prove, type Suspect } from './proof.ts';
import { Refreshing } from './refreshing.ts';
import { RELEASES, type ReleaseDoors, type ReleaseJob, type ReleaseResult, release } from './release.ts';
import { childrenOf, conduct, type ScanJob, type ScanResult, type ShardResult } from './scan.ts';
import { MarksForgotten, Seen, type Walked } from './seen.ts';
import { type ShardPlan, walk } from './shard.ts';

export interface MirrorPollerOptions {
  readonly settings: PoolSettings;
  readonly tag: MirrorTag;
  readonly redis: Redis;
  readonly userPool: UserPool;
  readonly budget: Budget;
  readonly log: Logger;
  /** How long a request to Cognito is tried again. */
  readonly patienceMs: number;
  /** Whether it begins scans; it helps with those under way in any case. */
  readonly conducts: boolean;
  /** Whether it walks hot lanes. */
  readonly listens: boolean;
  readonly metrics: Metrics;
}

const LOOK_EVERY_MS = 500;
/** A smaller pool is walked in one chain: fewer than 167 pages. */
const SHARDED_FROM_USERS = 10_000;
/** So many sharded scans, then one of the whole pool. */
const PROVE_SHARDS_EVERY = 20;
/** Shards that one replica walks side by side. */
const SHARDS_AT_ONCE = 4;

export class MirrorPoller {
  readonly #options: MirrorPollerOptions;
  readonly #snapshot: SnapshotReader;
  /** With Cognito: over when it has answered. */
  readonly #trouble: Trouble;
  /** With Redis: over when it could be asked. */
  readonly #queueTrouble: Trouble;
  #timeline: string | null = null;
  #hints: HintQueue | null = null;

  constructor(options: MirrorPollerOptions) {
    this.#options = options;
    this.#snapshot = new SnapshotReader(options.redis, options.tag);
    this.#trouble = new Trouble(options.log);
    this.#queueTrouble = new Trouble(options.log);
  }

  /** Where hints about its users go; null until it runs. */
  hints(): HintQueue | null {
    return this.#hints;
  }

  /** What stands in the way now; null: nothing. */
  trouble(): string | null {
    return this.#trouble.line ?? this.#queueTrouble.line;
  }

  /** The timeline that the writer announces; null: none stands. */
  stand(timeline: string | null): void {
    this.#timeline = timeline;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { settings, tag, redis, log } = this.#options;
    // Every shard, look and wait for the budget listens to it: more than the ten that Node takes for a leak.
    setMaxListeners(0, signal);
    const changes = createQueue<unknown, unknown>(queues.changes, tag, redis.client);
    const scans = createQueue<ScanJob, ScanResult>(queues.scans, tag, redis.client);
    const shards = createQueue<ShardPlan, ShardResult>(queues.shards, tag, redis.client);
    const outbox = new Outbox({
      redis,
      changes,
      pool: settings.poolId,
      maxQueuedChanges: settings.maxQueuedChanges,
      signal,
      onPause: (paused) => {
        log.warn(paused ? 'too many changes wait for the writer: holding back' : 'the writer has caught up: going on');
        this.#options.metrics.paused.inc({ pool: settings.poolId }, paused ? 1 : -1);
      },
    });
    const reader = this.#reader(signal);
    const onError = (error: Error, jobId: string | null) => {
      if (signal.aborted || error instanceof WaitingChildrenError) return;
      if (jobId === null) this.#queueTrouble.met(error, 'reach the queues');
      else this.#troubled(error, 'go on with a scan');
    };
    const conducting = createWorker<ScanJob, ScanResult>(
      queues.scans,
      tag,
      redis.client,
      (job, token) => this.#scan(job, token, shards, outbox, reader),
      { onError },
    );
    const walking = createWorker<ShardPlan, ShardResult>(
      queues.shards,
      tag,
      redis.client,
      (job, token) => this.#shard(job, token, outbox, reader, signal),
      { onError },
      SHARDS_AT_ONCE,
    );
    const releasing = createWorker<ReleaseJob, ReleaseResult>(
      RELEASES,
      tag,
      redis.client,
      (job, token) => this.#release(job, token, outbox, reader),
      { onError },
    );
    const refreshing = new Refreshing({
      ...this.#options,
      reader,
      snapshot: this.#snapshot,
      outbox,
      timeline: () => this.#timeline,
      onError: (error, jobId) =>
        jobId === null ? this.#queueTrouble.met(error, 'reach the queues') : this.#troubled(error, 'look at a user'),
    });
    this.#hints = refreshing.hints;
    const refreshed = refreshing.run(signal);
    const conductor = new Conductor({
      redis,
      tag,
      pool: settings.poolId,
      scans,
      pollIntervalMs: settings.pollIntervalMs,
      hasRoom: () => outbox.hasRoom(),
    });
    while (!signal.aborted) {
      try {
        // An announcement is some seconds old: a scan under a timeline that has ended meanwhile would end at once, and the next be due much later.
        const { pointer } = await this.#snapshot.read([]);
        if (this.#options.conducts && this.#timeline !== null && pointer?.timeline === this.#timeline) {
          const scan = await conductor.look(this.#timeline);
          if (scan !== null) log.debug({ scan }, 'a scan begins');
        }
        this.#queueTrouble.over();
      } catch (error) {
        this.#queueTrouble.met(error, 'conduct scans');
      }
      await sleep(LOOK_EVERY_MS, signal);
    }
    await Promise.all([closeWorker(conducting), closeWorker(walking), closeWorker(releasing), refreshed]);
    // Where Redis is away the lease runs out by itself.
    await conductor.release().catch(() => undefined);
    await Promise.all([changes, scans, shards].map(closeQueue));
  }

  #reader(signal: AbortSignal): PoolReader {
    const { userPool, budget, redis, tag, patienceMs } = this.#options;
    return new PoolReader({
      userPool,
      budget,
      clock: () => observationTime(redis, tag),
      signal,
      patienceMs,
      onRetry: (error) => this.#troubled(error, 'read the pool'),
      onAnswer: () => {
        this.#trouble.over();
      },
    });
  }

  async #scan(
    job: Job<ScanJob, ScanResult>,
    token: string,
    shards: Queue,
    outbox: Outbox,
    reader: PoolReader,
  ): Promise<ScanResult> {
    const { tag, redis, log } = this.#options;
    const result = await conduct(job, token, {
      shards,
      outbox,
      sharded: () => this.#sharded(job.id ?? ''),
      shardedSince: async () => (await readSharding(redis, tag)).shardedAt,
      missing: async (data, scan, parent) => {
        try {
          return await this.#missing(data, scan, parent, outbox, reader);
        } catch (error) {
          if (error instanceof MarksForgotten) return error.message;
          if (!(error instanceof PoolFailure)) throw error;
          this.#troubled(error.cause, 'prove who is missing');
          return oneLine(error.cause);
        }
      },
      now: () => observationTime(redis, tag),
    });
    await new Seen(redis, tag, result.scan).forget();
    await recordEnd(redis, tag, result.scan, await observationTime(redis, tag), result);
    await this.#learnSharding(result);
    if (result.complete) await this.#window().scanned(result.floor);
    const { complete, reason, ...rest } = result;
    this.#count(result);
    if (complete) log.info(rest, 'scan complete');
    else log.warn({ ...rest, reason }, `scan incomplete: ${reason}`);
    return result;
  }

  #count({ complete, seconds }: ScanResult): void {
    const { metrics, settings } = this.#options;
    const pool = settings.poolId;
    metrics.scans.inc({ pool, outcome: complete ? 'complete' : 'incomplete' });
    if (complete) metrics.scanSeconds.observe({ pool }, seconds);
  }

  /** Large pools are cut, by what the last scan saw and by Cognito's estimate; every so often one scan of the whole pool proves the shards. */
  async #sharded(scan: string): Promise<boolean> {
    const { redis, tag, userPool, log } = this.#options;
    const estimate = await userPool.estimatedUsers().catch((error: unknown) => {
      log.debug({ err: error }, 'no estimate of the number of users');
      return null;
    });
    await recordEstimate(redis, tag, scan, estimate);
    const { last } = await readScans(redis, tag);
    const { refused, sinceWhole } = await readSharding(redis, tag);
    if (refused || sinceWhole >= PROVE_SHARDS_EVERY) return false;
    return Math.max(estimate ?? 0, last?.users ?? 0) >= SHARDED_FROM_USERS;
  }

  async #learnSharding({ complete, sharded, floor, filtersRefused, unshardable }: ScanResult): Promise<void> {
    const { redis, tag, log } = this.#options;
    if (filtersRefused) log.warn('Cognito refuses filters on sub: this pool is scanned in one chain from now on');
    if (unshardable > 0)
      log.warn({ users: unshardable }, 'shards do not show everybody: this pool is scanned in one chain from now on');
    await recordSharding(redis, tag, {
      refused: filtersRefused || unshardable > 0,
      sharded: complete && sharded,
      whole: complete && !sharded,
      floor,
    });
  }

  async #shard(
    job: Job<ShardPlan, ShardResult>,
    token: string,
    outbox: Outbox,
    reader: PoolReader,
    signal: AbortSignal,
  ): Promise<ShardResult> {
    const { redis, tag } = this.#options;
    const seen = new Seen(redis, tag, job.data.scan);
    const before = await seen.ended(job.data.shard);
    // Added anew by a conductor that had not noted it: its batches were the children of a job that is gone.
    if (before !== null && 'dropped' in before) return before;
    // Where it has walked to its end before, it only waited for its batches.
    let walked: Walked | null = before;
    if (walked === null) {
      try {
        walked = await walk(job.data, { reader, snapshot: this.#snapshot, outbox, seen, job });
      } catch (error) {
        if (signal.aborted || !(error instanceof PoolFailure)) throw error;
        this.#troubled(error.cause, 'scan the pool');
        const filterRefused = job.data.filter !== null && classify(error.cause).kind === 'aws-invalid-request';
        walked = { ended: false, pages: 0, users: 0, unshardable: 0, reason: oneLine(error.cause), filterRefused };
      }
      await seen.end(job.data.shard, walked);
    }
    try {
      await awaitChildren(job, token);
    } catch (error) {
      if (!(error instanceof ChildrenForgotten)) throw error;
      walked = { ...walked, ended: false, reason: error.message };
      await seen.end(job.data.shard, walked);
      await awaitChildren(job, token);
    }
    const { failed, sum } = await childrenOf(job);
    const result: ShardResult = {
      ...walked,
      dropped: sum('dropped') + failed,
      inserted: sum('inserted'),
      updated: sum('updated'),
      deleted: sum('deleted'),
    };
    await seen.end(job.data.shard, result);
    return result;
  }

  async #missing(
    data: ScanJob,
    scan: string,
    job: Job,
    outbox: Outbox,
    reader: PoolReader,
  ): Promise<MissingOutcome | string> {
    const { settings, tag, redis, log } = this.#options;
    const { timeline, floor } = data;
    const { pointer } = await this.#snapshot.read([]);
    if (pointer?.timeline !== timeline) return 'its timeline has ended';
    const { entries } = await this.#snapshot.geometry(pointer.generation);
    const seen = new Seen(redis, tag, scan);
    const missing = seen.missing(this.#snapshot, pointer.generation, floor);
    const suspects = (async function* (): AsyncGenerator<Suspect> {
      for await (const { sub, entry } of missing) yield { sub, username: entry.username };
    })();
    const outcome = await settleMissing(
      suspects,
      {
        look: (suspect) => exactLook(reader, suspect, timeline),
        prove: (suspect) => prove(reader, suspect),
        heldAlready: (some) => this.#heldAlready(some),
        remove: (deletes) => outbox.send(deletes, timeline, scan, job),
        shown: async (observed) => {
          const view = await this.#snapshot.read(observed.map(({ sub }) => sub));
          const changed = observed.filter((one, i) => {
            const known = view.known[i];
            return known !== undefined && diff(one, known) === 'changed';
          });
          if (changed.length > 0) await outbox.send(changed, timeline, scan, job);
        },
        hold: (some, reason) =>
          outbox.ask(
            { type: 'hold', v: WIRE_VERSION, pool: settings.poolId, timeline, scan, floor, reason, users: [...some] },
            job,
          ),
      },
      {
        guard: { count: settings.deleteGuardCount, percent: settings.deleteGuardPercent },
        mirrorUsers: entries,
        refreshedDeletes: await this.#window().count(),
        earlier: settings.confirmWithAdminGetUser ? null : await this.#earlierLooks(timeline, floor),
      },
    );
    if (outcome.held > 0)
      log.warn({ scan, ...outcome }, `${outcome.held} deletes are held: see cognito-feed deletes list`);
    return outcome;
  }

  async #release(
    job: Job<ReleaseJob, ReleaseResult>,
    token: string,
    outbox: Outbox,
    reader: PoolReader,
  ): Promise<ReleaseResult> {
    const doors: ReleaseDoors = {
      timeline: async () => {
        const { pointer } = await this.#snapshot.read([]);
        if (pointer === null) throw new Error('no timeline stands');
        return pointer.timeline;
      },
      look: (suspect, timeline) => exactLook(reader, suspect, timeline),
      prove: this.#options.settings.confirmWithAdminGetUser ? (suspect) => prove(reader, suspect) : null,
      send: (changes, timeline, parent) => outbox.send(changes, timeline, null, parent),
    };
    try {
      return await release(job, token, doors);
    } catch (error) {
      // Its message is what the operator's command can tell; the cause may hold values.
      throw error instanceof PoolFailure ? new UserFacingError(oneLine(error.cause)) : error;
    }
  }

  #window(): DeleteWindow {
    const { settings, redis, tag } = this.#options;
    return new DeleteWindow(redis, tag, { count: settings.deleteGuardCount, percent: settings.deleteGuardPercent });
  }

  async #heldAlready(some: readonly Suspect[]): Promise<ReadonlySet<string>> {
    const { redis, tag } = this.#options;
    const flags = await redis.client.smismember(keys.held(tag), ...some.map(({ sub }) => sub));
    return new Set(some.filter((_, i) => flags[i] === 1).map(({ sub }) => sub));
  }

  /** Looks of earlier scans of this timeline, for CONFIRM_WITH_ADMIN_GET_USER=false. */
  async #earlierLooks(timeline: string, floor: number) {
    const { redis, tag } = this.#options;
    const key = keys.suspects(tag);
    const all = await redis.client.hgetall(key);
    const missed = (sub: string) => {
      const [when, which] = (all[sub] ?? '').split(' ');
      return which === timeline && Number(when) < floor;
    };
    const note = async (subs: readonly string[]) => {
      // A scan that is conducted again must not take its own looks for an earlier one's: the first look's time stays.
      const kept = Object.fromEntries(
        subs.map((sub) => [sub, missed(sub) ? (all[sub] ?? '') : `${floor} ${timeline}`]),
      );
      const pipeline = redis.client.multi().del(key);
      if (subs.length > 0) pipeline.hset(key, kept);
      await pipeline.exec();
    };
    return { missed, note };
  }

  #troubled(error: unknown, what: string): void {
    if (error instanceof WaitingChildrenError) return;
    this.#trouble.met(error, what);
  }
}
