/**
 * Hints on their way to their looks: joined where they name the same user, bounded, counted. ARCHITECTURE.md, "Refresh".
 */
import { randomUUID } from 'node:crypto';
import type { JobsOptions, Queue } from 'bullmq';
import { observationTime } from '../../shared/clock.ts';
import { countHints, type HintOutcome, type HintSource } from '../../shared/hint-record.ts';
import { keys, type MirrorTag } from '../../shared/keys.ts';
import { jobOptions } from '../../shared/queue.ts';
import type { Redis } from '../../shared/redis.ts';
import { hurryScan } from './conductor.ts';
import { type Hint, hintId, type RefreshJob } from './hint.ts';

/** As many looks take as long as a scan of 600,000 users: one more, and the scan is the shorter way. */
export const MOST_WAITING = 10_000;
/** Jobs added in one round trip. */
const AT_ONCE = 500;
/** The answer to a command is kept so long. */
const ANSWERS_KEPT = { age: 600, count: 10_000 } as const;
/** Events that are remembered, and how long: CloudTrail repeats itself within minutes. */
const EVENTS_MOST = 10_000;
const EVENTS_KEPT_MS = 60 * 60_000;

export interface HintQueueOptions {
  readonly redis: Redis;
  readonly tag: MirrorTag;
  readonly refreshes: Queue<RefreshJob, unknown, string>;
  readonly pollIntervalMs: number;
}

export class HintQueue {
  readonly #options: HintQueueOptions;

  constructor(options: HintQueueOptions) {
    this.#options = options;
  }

  /** When it returns, each hint has its look to come, or there are so many that the next scan is brought forward. */
  async add(hints: readonly Hint[]): Promise<void> {
    const [first] = hints;
    if (first === undefined) return;
    const { redis, tag, refreshes } = this.#options;
    const distinct = [...new Map(hints.map((hint) => [hintId(hint), hint])).values()];
    const { wait = 0, delayed = 0 } = await refreshes.getJobCounts('wait', 'delayed');
    const taken = distinct.slice(0, Math.max(0, MOST_WAITING - wait - delayed));
    const at = await observationTime(redis, tag);
    let doubled = hints.length - distinct.length;
    for (let i = 0; i < taken.length; i += AT_ONCE) {
      const jobs = taken.slice(i, i + AT_ONCE).map((hint) => this.#job(hint, at));
      const added = await refreshes.addBulk(jobs);
      doubled += added.filter((job, n) => job.id !== jobs[n]?.opts.jobId).length;
    }
    const ignored = distinct.length - taken.length;
    if (ignored > 0) await this.hurry();
    await this.count(first.source, { received: hints.length, doubled, ignored });
  }

  #job(hint: Hint, at: number) {
    const opts: JobsOptions = {
      ...jobOptions(randomUUID()),
      // One that waits takes the hint in; one that is active may have looked too early, so the hint comes after it.
      deduplication: { id: hintId(hint), keepLastIfActive: true },
    };
    const data: RefreshJob = { ...hint, at, looks: 0, found: false, sent: null };
    return { name: 'refresh', data, opts };
  }

  /** For whoever waits for the answer: it goes before all others and is joined with none. @returns the id of its job, whose result is the answer */
  async ask(hint: Hint): Promise<string> {
    const { redis, tag, refreshes } = this.#options;
    const { name, data } = this.#job(hint, await observationTime(redis, tag));
    const id = randomUUID();
    await refreshes.add(name, data, { ...jobOptions(id), lifo: true, removeOnComplete: ANSWERS_KEPT });
    await this.count(hint.source, { received: 1 });
    return id;
  }

  /** Brings the next scan forward, once in a quarter of POLL_INTERVAL. */
  async hurry(): Promise<void> {
    const { redis, tag, pollIntervalMs } = this.#options;
    await hurryScan(redis, tag, pollIntervalMs / 4);
  }

  /** Whether this event's hint has been queued before. */
  async isKnown(eventId: string): Promise<boolean> {
    const { redis, tag } = this.#options;
    return (await redis.client.zscore(keys.events(tag), eventId)) !== null;
  }

  /** To be called after the event's hint was queued, so that none is lost in between. */
  async know(eventId: string): Promise<void> {
    const { redis, tag } = this.#options;
    const key = keys.events(tag);
    const now = await observationTime(redis, tag);
    await redis.client
      .multi()
      .zadd(key, now, eventId)
      .zremrangebyscore(key, '-inf', now - EVENTS_KEPT_MS)
      .zremrangebyrank(key, 0, -EVENTS_MOST - 1)
      .pexpire(key, EVENTS_KEPT_MS)
      .exec();
  }

  async count(source: HintSource, counts: Partial<Record<HintOutcome, number>>): Promise<void> {
    await countHints(this.#options.redis, this.#options.tag, source, counts);
  }
}
