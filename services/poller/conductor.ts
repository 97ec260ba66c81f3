/**
 * Who begins scans, and when: one replica, which holds an expiring lease; POLL_INTERVAL after the last one ended, or sooner when somebody asked.
 * A scan that is under way needs no conductor: its job goes from replica to replica by itself. So the lease's holder may die at any point.
 */
import { randomUUID } from 'node:crypto';
import type { Queue } from 'bullmq';
import { observationTime } from '../../shared/clock.ts';
import { keys, type MirrorTag } from '../../shared/keys.ts';
import { jobOptions } from '../../shared/queue.ts';
import type { Redis } from '../../shared/redis.ts';
import { readScans, recordBegin, recordEnd } from '../../shared/scan-record.ts';
import { Lease } from './lease.ts';
import type { ScanJob } from './scan.ts';

export interface ConductorOptions {
  readonly redis: Redis;
  readonly tag: MirrorTag;
  readonly pool: string;
  readonly scans: Queue;
  readonly pollIntervalMs: number;
  /** Whether more changes may be queued now; no scan begins before. */
  readonly hasRoom: () => Promise<boolean>;
}

export class Conductor {
  readonly #options: ConductorOptions;
  readonly #lease: Lease;

  constructor(options: ConductorOptions) {
    this.#options = options;
    this.#lease = new Lease(options.redis, keys.lease(options.tag));
  }

  /**
   * One look: takes or renews the lease and begins a scan where one is due. Called about twice a second.
   * @param timeline under which the mirror stands
   * @returns the scan that it began
   */
  async look(timeline: string): Promise<string | null> {
    const { redis, tag, scans, pollIntervalMs, hasRoom } = this.#options;
    if (!(await this.#lease.take())) return null;
    const record = await readScans(redis, tag);
    const { current } = record;
    if (current !== null) {
      // Its job records the end itself. Where the job is gone (Redis lost it, somebody removed it), this is the repair.
      const state = await scans.getJobState(current.id);
      if (state === 'unknown' || state === 'failed')
        await recordEnd(redis, tag, current.id, await observationTime(redis, tag), null);
      return null;
    }
    const floor = await observationTime(redis, tag);
    const wanted = Number((await redis.client.get(keys.wanted(tag))) ?? 0);
    const due = floor - record.endedAt >= pollIntervalMs || wanted > (record.last?.floor ?? 0);
    if (!due || !(await hasRoom())) return null;
    return await this.#begin(timeline, floor);
  }

  /**
   * The record first: a crash between the two leaves a record without a job, which the next look clears. null: whoever has the lease by now has
   * begun one, while this replica was stopped.
   */
  async #begin(timeline: string, floor: number): Promise<string | null> {
    const { redis, tag, pool, scans } = this.#options;
    const id = randomUUID();
    if (!(await recordBegin(redis, tag, { id, timeline, floor }))) return null;
    const job: ScanJob = { pool, timeline, floor, step: 'begin' };
    await scans.add('scan', job, jobOptions(id));
    return id;
  }

  /** A replica that ends cleanly lets the next one conduct at once. */
  release(): Promise<void> {
    return this.#lease.release();
  }
}

/** Asks for a scan that begins after now. Gives the time that its floor will be above. */
export async function wantScan(redis: Redis, tag: MirrorTag): Promise<number> {
  const now = await observationTime(redis, tag);
  await redis.client.set(keys.wanted(tag), now);
  return now;
}

/** Asks for a scan as `wantScan`, but once in `everyMs` at most: in between nothing happens. */
export async function hurryScan(redis: Redis, tag: MirrorTag, everyMs: number): Promise<boolean> {
  const first = await redis.client.set(keys.hurried(tag), '1', 'PX', Math.ceil(everyMs), 'NX');
  if (first !== null) await wantScan(redis, tag);
  return first !== null;
}
