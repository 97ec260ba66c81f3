/**
 * What one Redis holds of a mirror, and what can befall it: it loses everything, comes back as it was a while ago, or is replaced by one whose
 * clock differs.
 */
import type { Entry, Pointer, StaleRead } from '../../shared/snapshot.ts';
import type { FlowJob } from './memory-queue.ts';
import type { Scheduler } from './scheduler.ts';

/** One build of the snapshot: geometry, entries, tombstones and stale reads are there or gone together. */
export interface Generation {
  readonly entries: Map<string, Entry>;
  /** Sub to the time of the delete. */
  readonly tombstones: Map<string, number>;
  readonly stale: Map<string, StaleRead>;
  /** Pieces that have come of it. */
  loaded: number;
}

interface Held {
  pointer: Pointer | null;
  generations: Map<string, Generation>;
  /** The last observation time given. */
  clock: number;
  jobs: Map<string, FlowJob>;
  hashes: Map<string, Map<string, string>>;
  strings: Map<string, Buffer>;
  /** Held subs, as the writer tells them. */
  heldSubs: Set<string>;
  /** Whom refreshes are about to delete: sub to the time of the look. */
  refreshedDeletes: Map<string, number>;
  /** The timeline that the writers announce. */
  announced: string | null;
}

const nothing = (): Held => ({
  pointer: null,
  generations: new Map(),
  clock: 0,
  jobs: new Map(),
  hashes: new Map(),
  strings: new Map(),
  heldSubs: new Set(),
  refreshedDeletes: new Map(),
  announced: null,
});

const copyOf = (held: Held): Held => ({
  ...held,
  generations: new Map(
    [...held.generations].map(([id, { entries, tombstones, stale, loaded }]) => [
      id,
      { entries: new Map(entries), tombstones: new Map(tombstones), stale: new Map(stale), loaded },
    ]),
  ),
  jobs: new Map([...held.jobs].map(([id, job]) => [id, job.copy()])),
  hashes: new Map([...held.hashes].map(([key, hash]) => [key, new Map(hash)])),
  strings: new Map(held.strings),
  heldSubs: new Set(held.heldSubs),
  refreshedDeletes: new Map(held.refreshedDeletes),
});

export class MemoryRedis {
  held: Held = nothing();
  readonly scheduler: Scheduler;
  #saved: Held = nothing();
  /** Its host's clock against the others', milliseconds. */
  #skew = 0;

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
  }

  /** TIME. */
  get time(): number {
    return this.scheduler.now + this.#skew;
  }

  /** The clock of observations, which rises with each time it gives while it is kept (shared/clock.ts). */
  observationTime(): number {
    this.held.clock = Math.max(this.time, this.held.clock + 1);
    return this.held.clock;
  }

  /** What it would come back with. */
  save(): void {
    this.#saved = copyOf(this.held);
  }

  restore(): void {
    this.held = copyOf(this.#saved);
  }

  /** FLUSHALL, or another, empty server with another clock. */
  lose(skewMs: number): void {
    this.held = nothing();
    this.#skew = skewMs;
  }
}
