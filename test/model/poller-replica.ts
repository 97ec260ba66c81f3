/**
 * A poller as services/poller/mirror-poller.ts puts it together, over doors in memory: scans and their shards, and refreshes of one user. All that
 * decides is the service's own code.
 */

import { awaitChildren, ChildrenForgotten } from '../../services/poller/children.ts';
import { diff } from '../../services/poller/diff.ts';
import { judgeLook } from '../../services/poller/look-verdict.ts';
import { type MissingOutcome, settleMissing } from '../../services/poller/missing.ts';
import { Outbox } from '../../services/poller/outbox.ts';
import type { PoolReader } from '../../services/poller/pages.ts';
import { PoolFailure } from '../../services/poller/pages.ts';
import { exactLook, prove, type Suspect } from '../../services/poller/proof.ts';
import { lookAt, settleSuspect } from '../../services/poller/refresh.ts';
import { childrenOf, conduct, type ScanJob, type ScanResult } from '../../services/poller/scan.ts';
import { MarksForgotten, Seen } from '../../services/poller/seen.ts';
import { type ShardPlan, walk } from '../../services/poller/shard.ts';
import type { Change, Upsert } from '../../shared/change.ts';
import { WIRE_VERSION } from '../../shared/change.ts';
import type { MirrorTag } from '../../shared/keys.ts';
import type { PoolSettings } from '../../shared/settings.ts';
import type { SnapshotReader } from '../../shared/snapshot.ts';
import { standInSub } from '../../shared/user.ts';
import { MarksRedis } from './memory-marks.ts';
import { subIn } from './memory-postgres.ts';
import { MemoryQueue, type TakenJob } from './memory-queue.ts';
import { MemorySnapshotReader } from './memory-snapshot.ts';
import { MemoryWindow } from './memory-window.ts';
import { type Observer, SHARDED } from './observer.ts';
import { PoolView, unanswered } from './pool-view.ts';
import { Process } from './scheduler.ts';
import type { World } from './world.ts';
import { forgiven } from './writer-replica.ts';

const POOL = 'eu-west-1_model';
const TAG = '{cf-model}' as MirrorTag;
const RETRY_MS = 500;
/** Shards that one replica walks side by side. */
const SHARDS_AT_ONCE = 2;

export class PollerReplica {
  readonly process: Process;
  readonly #world: World;
  readonly #observer: Observer;
  readonly #snapshot: SnapshotReader;
  readonly #marks: MarksRedis;
  readonly #scans: MemoryQueue;
  readonly #shards: MemoryQueue;
  readonly #changes: MemoryQueue;
  readonly #outbox: Outbox;
  readonly #window: MemoryWindow;

  constructor(name: string, world: World, observer: Observer) {
    this.process = new Process(name);
    this.#world = world;
    this.#observer = observer;
    const { redis } = world;
    this.#snapshot = new MemorySnapshotReader(redis, this.process) as unknown as SnapshotReader;
    this.#window = new MemoryWindow(world, this.process);
    this.#marks = new MarksRedis(redis, this.process);
    this.#scans = new MemoryQueue(redis, this.process, 'scans');
    this.#shards = new MemoryQueue(redis, this.process, 'shards');
    this.#changes = new MemoryQueue(redis, this.process, 'changes');
    this.#outbox = new Outbox({
      redis: this.#marks.asRedis(),
      changes: this.#changes.asQueue(),
      pool: POOL,
      maxQueuedChanges: 1_000_000,
      signal: new AbortController().signal,
      onPause: () => undefined,
    });
  }

  start(): void {
    const threads = [
      this.#each(this.#scans, (job) => this.#scan(job)),
      ...Array.from({ length: SHARDS_AT_ONCE }, () => this.#each(this.#shards, (job) => this.#shard(job))),
      this.#beginScans(),
      this.#refresh(),
    ];
    for (const thread of threads) thread.catch((error: unknown) => this.#world.scheduler.fail(error));
  }

  async #each(queue: MemoryQueue, work: (job: TakenJob) => Promise<unknown>): Promise<never> {
    for (;;) {
      const job = await this.#untilDone(() => queue.take());
      const outcome = await work(job).then(
        (result) => ({ result }),
        (error: unknown) => ({ error }),
      );
      if ('error' in outcome && !(outcome.error instanceof Error && outcome.error.name === 'WaitingChildrenError')) {
        forgiven(outcome.error);
        await this.#world.scheduler.sleep(this.process, RETRY_MS);
      }
      await job.finish(outcome).catch(forgiven);
    }
  }

  async #beginScans(): Promise<never> {
    const { scheduler, redis, wantedScans } = this.#world;
    for (;;) {
      try {
        const wanted = await scheduler.step(
          this.process,
          'wants a scan',
          () => wantedScans.shift(),
          () => wantedScans.length > 0,
        );
        if (wanted === undefined) continue;
        const timeline = await scheduler.step(this.process, 'read announcement', () => redis.held.announced);
        if (timeline === null) {
          wantedScans.push(wanted);
          await scheduler.sleep(this.process, RETRY_MS);
          continue;
        }
        const floor = await scheduler.step(this.process, 'clock', () => redis.observationTime());
        const id = this.#world.newId(wanted.name);
        const data: ScanJob = { pool: POOL, timeline, floor, step: 'begin' };
        await this.#scans.add('scan', data, { jobId: id });
      } catch (error) {
        forgiven(error);
      }
    }
  }

  async #scan(job: TakenJob): Promise<ScanResult> {
    const { scheduler, redis } = this.#world;
    const view = this.#view(job.id);
    const result = await conduct(job.asJob<ScanJob, ScanResult>(), '', {
      shards: this.#shards.asQueue(),
      outbox: this.#outbox,
      sharded: async () => job.id.startsWith(SHARDED),
      shardedSince: async () => null,
      missing: async (data, scan) => {
        try {
          return await this.#missing(data, scan, job, view);
        } catch (error) {
          if (error instanceof MarksForgotten || error instanceof PoolFailure) return error.message;
          throw error;
        }
      },
      now: () => scheduler.step(this.process, 'clock', () => redis.observationTime()),
    });
    await new Seen(this.#marks.asRedis(), TAG, result.scan).forget();
    if (result.complete) await this.#window.scanned(result.floor);
    this.#world.scanEnds.push(result);
    return result;
  }

  async #shard(job: TakenJob): Promise<unknown> {
    const plan = job.data as ShardPlan;
    const view = this.#view(plan.scan);
    const marks = new MarksRedis(this.#world.redis, this.process, view.noted);
    const seen = new Seen(marks.asRedis(), TAG, plan.scan);
    const real = job.asJob<ShardPlan, unknown>();
    let walked = await seen.ended(plan.shard);
    if (walked === null) {
      const doors = { reader: view.asReader(), snapshot: this.#snapshot, outbox: this.#outbox, seen, job: real };
      walked = await walk(plan, doors).catch(unanswered);
      if (walked.ended) this.#observer.walked(plan.scan, plan.shard);
      await seen.end(plan.shard, walked);
    }
    try {
      await awaitChildren(real, '');
    } catch (error) {
      if (!(error instanceof ChildrenForgotten)) throw error;
      walked = { ...walked, ended: false, reason: error.message };
      await seen.end(plan.shard, walked);
      await awaitChildren(real, '');
    }
    const { failed, sum } = await childrenOf(real);
    return {
      ...walked,
      dropped: sum('dropped') + failed,
      inserted: sum('inserted'),
      updated: sum('updated'),
      deleted: sum('deleted'),
    };
  }

  async #missing(data: ScanJob, scan: string, job: TakenJob, view: PoolView): Promise<MissingOutcome | string> {
    const { timeline, floor } = data;
    const reader = view.asReader();
    const { pointer } = await this.#snapshot.read([]);
    if (pointer?.timeline !== timeline) return 'its timeline has ended';
    const { entries } = await this.#snapshot.geometry(pointer.generation);
    const seen = new Seen(this.#marks.asRedis(), TAG, scan);
    const missing = seen.missing(this.#snapshot, pointer.generation, floor);
    const observer = this.#observer;
    const suspects = (async function* (): AsyncGenerator<Suspect> {
      for await (const { sub, entry } of missing) {
        observer.suspected(scan, sub, entry, floor);
        yield { sub, username: entry.username };
      }
    })();
    const parent = job.asJob();
    return await settleMissing(
      suspects,
      {
        look: (suspect) => exactLook(reader, suspect, timeline),
        prove: (suspect) => prove(reader, suspect),
        heldAlready: (some) => this.#heldAlready(some),
        remove: (deletes) => this.#outbox.send(deletes, timeline, scan, parent),
        shown: async (observed) => {
          const changed = await this.#changed(observed);
          if (changed.length > 0) await this.#outbox.send(changed, timeline, scan, parent);
        },
        hold: (some, reason) =>
          this.#outbox.ask(
            { type: 'hold', v: WIRE_VERSION, pool: POOL, timeline, scan, floor, reason, users: [...some] },
            parent,
          ),
      },
      {
        guard: this.#world.guard,
        mirrorUsers: entries,
        refreshedDeletes: await this.#window.count(),
        earlier: null,
      },
    );
  }

  #heldAlready(some: readonly Suspect[]): Promise<ReadonlySet<string>> {
    return this.#world.scheduler.step(this.process, 'held already', () => {
      const { heldSubs } = this.#world.redis.held;
      return new Set(some.filter(({ sub }) => heldSubs.has(sub)).map(({ sub }) => sub));
    });
  }

  async #changed(observed: readonly Upsert[]): Promise<Upsert[]> {
    const view = await this.#snapshot.read(observed.map(({ sub }) => sub));
    return observed.filter((one, i) => {
      const known = view.known[i];
      return known !== undefined && diff(one, known) === 'changed';
    });
  }

  /** One user now: looked for by name, diffed, and sent as a batch that belongs to no scan. */
  async #refresh(): Promise<never> {
    const { scheduler, wantedRefreshes } = this.#world;
    const view = this.#view(null);
    for (;;) {
      try {
        const wanted = await scheduler.step(
          this.process,
          'wants a refresh',
          () => wantedRefreshes.shift(),
          () => wantedRefreshes.length > 0,
        );
        if (wanted === undefined) continue;
        const { pointer } = await this.#snapshot.read([]);
        if (pointer !== null) await this.#lookAt(wanted.username, pointer.timeline, view.asReader());
      } catch (error) {
        forgiven(error);
      }
    }
  }

  /** As services/poller/refresh-answer.ts: one look, and for who is missing the guard and the proof. */
  async #lookAt(username: string, timeline: string, reader: PoolReader): Promise<void> {
    const { scheduler, postgres } = this.#world;
    const sub = await scheduler.step(this.process, 'whose username', () => {
      const row = postgres.database.mirror.get(username);
      return row === undefined ? null : (subIn(row) ?? standInSub(username));
    });
    const snapshot = this.#snapshot;
    const looked = await lookAt({ by: 'username', name: username, sub }, timeline, { reader, snapshot });
    if (looked === null) return;
    const { change, missing } = judgeLook({ expect: 'nothing', since: null }, 1, looked.look, looked.known);
    if (change !== null) await this.#outbox.sendFirst([change], timeline, null);
    if (missing === null) return;
    const { suspect, lookedAt } = missing;
    const settings = { confirmWithAdminGetUser: true } as PoolSettings;
    const window = this.#window.asWindow();
    const settled = await settleSuspect(suspect, lookedAt, timeline, { settings, snapshot, window, reader });
    if (settled.verdict !== 'proved') return;
    const remove: Change = { kind: 'delete', ...suspect, observedAt: settled.observedAt };
    await this.#outbox.sendFirst([remove], timeline, null);
  }

  #view(scan: string | null): PoolView {
    return new PoolView(this.#world, this.process, this.#observer, scan);
  }

  async #untilDone<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        forgiven(error);
        await this.#world.scheduler.sleep(this.process, RETRY_MS);
      }
    }
  }
}
