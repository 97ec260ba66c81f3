/**
 * A scan: a job of queue `scans` that goes through its steps, the children of each done before the next begins. ARCHITECTURE.md, "A scan".
 * Whichever replica holds the job conducts it; a step that was interrupted is begun again by the next, which does no harm.
 */
import type { Job, Queue } from 'bullmq';
import { z } from 'zod';
import { WIRE_VERSION } from '../../shared/change.ts';
import { jobOptions } from '../../shared/queue.ts';
import { awaitChildren, ChildrenForgotten, noteChild } from './children.ts';
import type { MissingOutcome } from './missing.ts';
import type { Outbox } from './outbox.ts';
import type { Walked } from './seen.ts';
import { SHARDS, type ShardPlan, WHOLE_POOL } from './shard.ts';

/** Its id is the scan's. Times in milliseconds by Redis's clock. */
export interface ScanJob {
  readonly pool: string;
  readonly timeline: string;
  readonly floor: number;
  readonly step: 'begin' | 'shards' | 'missing' | 'keepalive' | 'end' | 'forgotten';
  /** Into chains by the sub's first digit. */
  readonly sharded?: boolean;
  /** Cognito refused their filters: one chain over the whole pool was put in their stead. */
  readonly fellBack?: boolean;
  readonly summary?: { readonly pages: number; readonly users: number };
}

export interface ScanResult {
  readonly scan: string;
  readonly floor: number;
  readonly complete: boolean;
  /** Why it isn't; null where it is. */
  readonly reason: string | null;
  readonly pages: number;
  readonly users: number;
  readonly seconds: number;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  readonly sharded: boolean;
  /** Cognito refuses the shards' filters. */
  readonly filtersRefused: boolean;
  /** Users whom only the walk over the whole pool has shown. */
  readonly unshardable: number;
}

export interface ScanDoors {
  readonly shards: Queue;
  readonly outbox: Outbox;
  /** Whether the pool is cut into shards. */
  readonly sharded: () => Promise<boolean>;
  /** When the last complete sharded scan began; null: none did. */
  readonly shardedSince: () => Promise<number | null>;
  /** Text: why it could not be settled. */
  readonly missing: (job: ScanJob, scan: string, parent: Job) => Promise<MissingOutcome | string>;
  readonly now: () => Promise<number>;
}

export { awaitChildren };

const child = z.object({
  begun: z.boolean().optional(),
  kept: z.boolean().optional(),
  held: z.union([z.boolean(), z.number()]).optional(),
  dropped: z.number().default(0),
  inserted: z.number().default(0),
  updated: z.number().default(0),
  deleted: z.number().default(0),
  ended: z.boolean().optional(),
  reason: z.string().nullable().optional(),
  filterRefused: z.boolean().optional(),
  unshardable: z.number().default(0),
  pages: z.number().default(0),
  users: z.number().default(0),
});

interface Children {
  readonly list: readonly z.infer<typeof child>[];
  /** Children that failed for good: whatever they were, the scan is not complete. */
  readonly failed: number;
  readonly sum: (field: 'dropped' | 'inserted' | 'updated' | 'deleted' | 'pages' | 'users' | 'unshardable') => number;
}

export async function childrenOf(job: Job): Promise<Children> {
  const values = Object.values(await job.getChildrenValues());
  const list = values.flatMap((value) => {
    const parsed = child.safeParse(value);
    return parsed.success ? [parsed.data] : [];
  });
  const failures = Object.keys(await job.getIgnoredChildrenFailures()).length + values.length - list.length;
  return { list, failed: failures, sum: (field) => list.reduce((total, one) => total + one[field], 0) };
}

/**
 * @throws WaitingChildrenError between the steps
 */
export async function conduct(job: Job<ScanJob, ScanResult>, token: string, doors: ScanDoors): Promise<ScanResult> {
  try {
    return await conductSteps(job, token, doors);
  } catch (error) {
    if (!(error instanceof ChildrenForgotten)) throw error;
    await next(job, 'forgotten');
    return await conductSteps(job, token, doors);
  }
}

async function conductSteps(job: Job<ScanJob, ScanResult>, token: string, doors: ScanDoors): Promise<ScanResult> {
  const scan = job.id ?? '';
  for (;;) {
    const { step } = job.data;
    switch (step) {
      case 'begin': {
        await ask(job, scan, doors, 'begin');
        await next(job, 'shards');
        break;
      }
      case 'shards': {
        await awaitChildren(job, token);
        const { list } = await childrenOf(job);
        if (!list.some(({ begun }) => begun))
          return await end(job, doors, 'its timeline has ended, or a later scan has begun');
        const sharded = await doors.sharded();
        for (const shard of sharded ? SHARDS : [WHOLE_POOL]) await addShard(job, shard, doors);
        await job.updateData({ ...job.data, step: 'missing', sharded });
        break;
      }
      case 'missing': {
        await awaitChildren(job, token);
        const children = await childrenOf(job);
        if (children.list.some(({ filterRefused }) => filterRefused) && job.data.fellBack !== true) {
          await addShard(job, WHOLE_POOL, doors);
          await job.updateData({ ...job.data, sharded: false, fellBack: true });
          break;
        }
        const reason = incomplete(children);
        if (reason !== null) return await end(job, doors, reason);
        const outcome = await doors.missing(job.data, scan, job);
        if (typeof outcome === 'string') return await end(job, doors, outcome);
        await job.updateData({
          ...job.data,
          step: 'keepalive',
          summary: { pages: children.sum('pages'), users: children.sum('users') },
        });
        break;
      }
      case 'keepalive': {
        await awaitChildren(job, token);
        const reason = incomplete(await childrenOf(job));
        if (reason !== null) return await end(job, doors, reason);
        await ask(job, scan, doors, 'keepalive');
        await next(job, 'end');
        break;
      }
      case 'forgotten': {
        await awaitChildren(job, token);
        return await end(job, doors, 'Redis has forgotten some of its jobs');
      }
      case 'end': {
        await awaitChildren(job, token);
        const { list } = await childrenOf(job);
        return await end(
          job,
          doors,
          list.some(({ kept }) => kept) ? null : 'its timeline has ended, or a later scan has begun',
        );
      }
    }
  }
}

async function addShard(
  job: Job<ScanJob, ScanResult>,
  { shard, filter }: { readonly shard: string; readonly filter: string | null },
  doors: ScanDoors,
): Promise<void> {
  const { timeline, floor } = job.data;
  const scan = job.id ?? '';
  const plan: ShardPlan = { scan, timeline, floor, shard, filter, shardedSince: await doors.shardedSince() };
  // The id is the scan's and the shard's: adding it again, after a crash, adds nothing.
  const options = jobOptions(`${scan}.${shard}`, { id: scan, queue: job.queueQualifiedName });
  await doors.shards.add('shard', plan, options);
  noteChild(job, `${scan}.${shard}`);
}

const next = (job: Job<ScanJob, ScanResult>, step: ScanJob['step']): Promise<void> =>
  job.updateData({ ...job.data, step });

async function ask(
  job: Job<ScanJob, ScanResult>,
  scan: string,
  doors: ScanDoors,
  type: 'begin' | 'keepalive',
): Promise<void> {
  const { pool, timeline, floor, summary } = job.data;
  const envelope = { v: WIRE_VERSION, pool, timeline, scan, floor } as const;
  if (type === 'begin') return await doors.outbox.ask({ type, ...envelope }, job);
  const seconds = ((await doors.now()) - floor) / 1000;
  await doors.outbox.ask(
    { type, ...envelope, summary: { seconds, pages: summary?.pages ?? 0, users: summary?.users ?? 0 } },
    job,
  );
}

/** Why what the scan has seen is not the whole pool, applied; null where it is. */
function incomplete({ list, failed, sum }: Children): string | null {
  if (failed > 0) return `${failed} of its jobs failed`;
  const open = list.find(({ ended, filterRefused }) => ended === false && !filterRefused);
  if (open !== undefined) return open.reason ?? 'a shard did not end';
  if (!list.some(({ ended }) => ended)) return 'it has no shards';
  const dropped = sum('dropped');
  return dropped > 0 ? `${dropped} changes came too late to count` : null;
}

async function end(job: Job<ScanJob, ScanResult>, doors: ScanDoors, reason: string | null): Promise<ScanResult> {
  const { sum } = await childrenOf(job);
  const { floor, summary, sharded = false, fellBack = false } = job.data;
  return {
    scan: job.id ?? '',
    floor,
    complete: reason === null,
    reason,
    pages: summary?.pages ?? sum('pages'),
    users: summary?.users ?? sum('users'),
    seconds: ((await doors.now()) - floor) / 1000,
    inserted: sum('inserted'),
    updated: sum('updated'),
    deleted: sum('deleted'),
    sharded,
    filtersRefused: fellBack,
    unshardable: sum('unshardable'),
  };
}

/** What a shard reports: its own walk, and what became of its batches. */
export type ShardResult = Walked & {
  readonly dropped: number;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
};
