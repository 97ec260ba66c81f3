/**
 * What a writer tells of its mirror at `/metrics`: looked up every few seconds, so that a scrape waits for nothing and an outage hides nothing. What
 * can't be looked up keeps its last value, but for the staleness: that grows by the clock.
 */
import { QueueKeys } from 'bullmq';
import type pg from 'pg';
import { sleep } from '../../shared/clock.ts';
import { HINT_OUTCOMES, HINT_SOURCES, readHints } from '../../shared/hint-record.ts';
import { type MirrorTag, queues } from '../../shared/keys.ts';
import type { Logger } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';
import type { Redis } from '../../shared/redis.ts';
import type { PoolSettings } from '../../shared/settings.ts';

const LOOK_EVERY_MS = 2_000;
/** Then the next look is begun beside it. */
const PATIENCE_MS = 60_000;
/** Jobs whose age is asked for; with more in the queue its oldest is among them, but for one that was put off. */
const AGED_MOST = 200;

export interface MirrorGaugesOptions {
  readonly settings: PoolSettings;
  readonly tag: MirrorTag;
  readonly postgres: pg.Pool;
  readonly redis: Redis;
  readonly log: Logger;
  readonly metrics: Metrics;
}

export class MirrorGauges {
  readonly #options: MirrorGaugesOptions;
  readonly #labels: { readonly pool: string };
  readonly #stopped = new AbortController();
  /** Milliseconds since the epoch; null: no scan has been applied. */
  #asOf: number | null = null;
  /** What Redis had counted of hints at the last look. */
  readonly #hints = new Map<string, number>();

  constructor(options: MirrorGaugesOptions) {
    this.#options = options;
    this.#labels = { pool: options.settings.poolId };
  }

  /** Until the signal, or `stop`. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { log, metrics } = this.#options;
    const either = AbortSignal.any([signal, this.#stopped.signal]);
    const done = metrics.onScrape(() => this.#age());
    while (!either.aborted) {
      const looks = [this.#lookAtPostgres(), this.#lookAtQueue(), this.#lookAtHints()];
      for (const look of looks)
        look.catch((error: unknown) => log.debug({ err: error }, 'a metric keeps its last value'));
      // A look that waits for an outage to end does not keep the service from ending.
      const looked = new AbortController();
      await Promise.race([Promise.allSettled(looks), sleep(PATIENCE_MS, AbortSignal.any([either, looked.signal]))]);
      looked.abort();
      await sleep(LOOK_EVERY_MS, either);
    }
    done();
  }

  stop(): void {
    this.#stopped.abort();
  }

  #age(): void {
    if (this.#asOf === null) this.#options.metrics.staleness.remove(this.#labels);
    else this.#options.metrics.staleness.set(this.#labels, Math.max(0, (Date.now() - this.#asOf) / 1000));
  }

  async #lookAtPostgres(): Promise<void> {
    const { postgres, metrics } = this.#options;
    const { rows } = await postgres.query<{ asOf: number | null; users: number; held: number; rejects: number }>(
      `select extract(epoch from as_of)::float8 * 1000 as "asOf", users::float8 as users, held_deletes::float8 as held, rejects::float8 as rejects
       from cognito_feed.status where pool = $1`,
      [this.#labels.pool],
    );
    const [row] = rows;
    if (row === undefined) return;
    this.#asOf = row.asOf;
    metrics.mirrorUsers.set(this.#labels, row.users);
    metrics.heldDeletes.set(this.#labels, row.held);
    metrics.rejects.set(this.#labels, row.rejects);
  }

  /** By the jobs' ids, which say how much is in them (`batchId`), and their own times; without reading what is in them. */
  async #lookAtQueue(): Promise<void> {
    const { redis, tag, metrics } = this.#options;
    const names = new QueueKeys(tag);
    const key = names.getKeys(queues.changes);
    const [active, waiting, delayed] = await Promise.all([
      redis.client.lrange(key['active'] ?? '', 0, -1),
      redis.client.lrange(key['wait'] ?? '', 0, -1),
      redis.client.zrange(key['delayed'] ?? '', '0', '-1'),
    ]);
    let changes = 0;
    for (const id of [...active, ...waiting, ...delayed]) changes += Number(/\.(\d+)\.\d+$/.exec(id)?.[1] ?? 0);
    metrics.queuedChanges.set(this.#labels, changes);
    // New ones come in at the left.
    const oldest = [...active.slice(0, AGED_MOST), ...waiting.slice(-AGED_MOST), ...delayed.slice(0, AGED_MOST)];
    const times = await Promise.all(
      oldest.map((id) => redis.client.hget(names.toKey(queues.changes, id), 'timestamp')),
    );
    const known = times.flatMap((time) => (time === null ? [] : [Number(time)]));
    const age = known.length === 0 ? 0 : Math.max(0, (Date.now() - Math.min(...known)) / 1000);
    metrics.queueAge.set(this.#labels, age);
  }

  async #lookAtHints(): Promise<void> {
    const { redis, tag, metrics } = this.#options;
    const { sources } = await readHints(redis, tag);
    for (const source of HINT_SOURCES) {
      for (const outcome of HINT_OUTCOMES) {
        const key = `${source}.${outcome}`;
        const now = sources[source][outcome];
        const before = this.#hints.get(key) ?? 0;
        // A Redis that lost its counts begins at nothing; a counter of ours only rises.
        const more = now >= before ? now - before : now;
        if (more > 0) metrics.refreshHints.inc({ ...this.#labels, source, outcome }, more);
        this.#hints.set(key, now);
      }
    }
  }
}
