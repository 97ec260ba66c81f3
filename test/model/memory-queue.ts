/**
 * BullMQ's flows in memory, as its scripts have them (addStandardJob, moveToWaitingChildren, moveToFinished, moveStalledJobsToWait): a job is
 * removed when it completes, so its id may be used again; data can be written by a worker that has lost the lock; order is anybody's guess.
 */
import { type Job, type Queue, WaitingChildrenError } from 'bullmq';
import type { MemoryRedis } from './memory-redis.ts';
import { Outage, type Process } from './scheduler.ts';

type QueueName = 'scans' | 'shards' | 'changes';

export class FlowJob {
  readonly id: string;
  readonly queue: QueueName;
  readonly parent: string | null;
  data: unknown;
  state: 'wait' | 'active' | 'waiting-children' = 'wait';
  /** Who works on it; a new object each time it is taken. */
  lock: { readonly owner: Process; lost: boolean } | null = null;
  /** A retry waits for its back-off, and others overtake. */
  notBefore = 0;
  /** Children that are not done. */
  readonly dependencies: Set<string>;
  /** What became of those that are. */
  readonly processed: Map<string, unknown>;

  constructor(
    id: string,
    queue: QueueName,
    parent: string | null,
    data: unknown,
    dependencies: ReadonlySet<string> = new Set(),
    processed: ReadonlyMap<string, unknown> = new Map(),
  ) {
    this.id = id;
    this.queue = queue;
    this.parent = parent;
    this.data = data;
    this.dependencies = new Set(dependencies);
    this.processed = new Map(processed);
  }

  copy(): FlowJob {
    const copy = new FlowJob(this.id, this.queue, this.parent, this.data, this.dependencies, this.processed);
    copy.state = this.state;
    copy.lock = this.lock;
    copy.notBefore = this.notBefore;
    return copy;
  }

  /** Its worker is gone, stopped past its lock, or was slow to renew it: another may have it. */
  takeable(now: number): boolean {
    if (this.state === 'wait') return this.notBefore <= now;
    return this.state === 'active' && (this.lock === null || this.lock.lost || !this.lock.owner.running);
  }
}

/** A job in a worker's hands. What conduct() and walk() use of BullMQ's Job, and how it ends. */
export class TakenJob {
  readonly id: string;
  readonly queueQualifiedName: QueueName;
  data: unknown;
  readonly #redis: MemoryRedis;
  readonly #lock: { readonly owner: Process; lost: boolean };

  constructor(redis: MemoryRedis, job: FlowJob, lock: { readonly owner: Process; lost: boolean }) {
    this.id = job.id;
    this.queueQualifiedName = job.queue;
    this.data = job.data;
    this.#redis = redis;
    this.#lock = lock;
  }

  /** As BullMQ's own, for code that takes one. */
  asJob<Data, Result>(): Job<Data, Result> {
    return this as unknown as Job<Data, Result>;
  }

  #step<T>(what: string, effect: (job: FlowJob | undefined) => T): Promise<T> {
    return this.#redis.scheduler.step(this.#lock.owner, `job ${what} ${this.queueQualifiedName}/${this.id}`, () =>
      effect(this.#redis.held.jobs.get(this.id)),
    );
  }

  /** Asks for no lock, as BullMQ. */
  updateData(data: unknown): Promise<void> {
    this.data = data;
    return this.#step('updateData', (job) => {
      if (job === undefined) throw new Outage('Missing key for job');
      job.data = data;
    });
  }

  moveToWaitingChildren(): Promise<boolean> {
    return this.#step('moveToWaitingChildren', (job) => {
      if (job === undefined) throw new Outage('Missing key for job');
      if (job.dependencies.size === 0) return false;
      if (job.lock !== this.#lock) throw new Outage('Missing lock for job');
      job.state = 'waiting-children';
      job.lock = null;
      return true;
    });
  }

  getChildrenValues(): Promise<Record<string, unknown>> {
    return this.#step('getChildrenValues', (job) => Object.fromEntries(job?.processed ?? []));
  }

  getDependenciesCount(): Promise<{ processed: number; unprocessed: number }> {
    return this.#step('getDependenciesCount', (job) => ({
      processed: job?.processed.size ?? 0,
      unprocessed: job?.dependencies.size ?? 0,
    }));
  }

  getIgnoredChildrenFailures(): Promise<Record<string, string>> {
    return Promise.resolve({});
  }

  /** moveToCompleted, or what a worker does when that or the work itself fails: the job comes again. */
  async finish(outcome: { readonly result: unknown } | { readonly error: unknown }): Promise<void> {
    try {
      if ('error' in outcome && outcome.error instanceof WaitingChildrenError) return;
      await this.#step('error' in outcome ? 'retry' : 'complete', (job) => {
        if (job === undefined || job.lock !== this.#lock) return;
        job.lock = null;
        job.state = 'wait';
        if ('error' in outcome || job.dependencies.size > 0) return;
        this.#complete(job, outcome.result);
      });
    } finally {
      // Whatever came of it, nobody renews this lock any more.
      this.#lock.lost = true;
    }
  }

  #complete(job: FlowJob, result: unknown): void {
    const { jobs } = this.#redis.held;
    jobs.delete(job.id);
    const parent = job.parent === null ? undefined : jobs.get(job.parent);
    if (!parent?.dependencies.delete(job.id)) return;
    parent.processed.set(job.id, result);
    if (parent.dependencies.size === 0 && parent.state === 'waiting-children') parent.state = 'wait';
  }
}

interface AddOptions {
  readonly jobId?: string;
  readonly parent?: { readonly id: string };
}

export class MemoryQueue {
  readonly #redis: MemoryRedis;
  readonly #process: Process;
  readonly #name: QueueName;

  constructor(redis: MemoryRedis, owner: Process, name: QueueName) {
    this.#redis = redis;
    this.#process = owner;
    this.#name = name;
  }

  asQueue(): Queue {
    return this as unknown as Queue;
  }

  add(name: string, data: unknown, { jobId = '', parent }: AddOptions): Promise<void> {
    return this.#redis.scheduler.step(this.#process, `queue ${this.#name} add ${name} ${jobId}`, () => {
      const { jobs } = this.#redis.held;
      const above = parent === undefined ? undefined : jobs.get(parent.id);
      if (parent !== undefined && above === undefined) throw new Outage('Missing key for parent job');
      if (!jobs.has(jobId)) jobs.set(jobId, new FlowJob(jobId, this.#name, parent?.id ?? null, data));
      above?.dependencies.add(jobId);
    });
  }

  /** For the outbox, which sums up what waits: nothing, so that it never pauses here. */
  getRanges(): Promise<string[]> {
    return Promise.resolve([]);
  }

  /** Waits until there is a job to be had. */
  async take(): Promise<TakenJob> {
    const { scheduler } = this.#redis;
    const takeable = () =>
      [...this.#redis.held.jobs.values()].filter((job) => job.queue === this.#name && job.takeable(scheduler.now));
    const lock = { owner: this.#process, lost: false };
    try {
      return await scheduler.step(
        this.#process,
        `queue ${this.#name} take`,
        () => {
          const job = scheduler.random.pick(takeable());
          job.state = 'active';
          job.lock = lock;
          return new TakenJob(this.#redis, job, lock);
        },
        () => takeable().length > 0,
      );
    } catch (error) {
      // A worker that doesn't know of its job renews no lock.
      lock.lost = true;
      throw error;
    }
  }
}
