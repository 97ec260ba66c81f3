/** How far each target is behind the change log, for `/metrics`: looked up every few seconds, by every publisher, whether it delivers or stands by. */
import type pg from 'pg';
import { sleep } from '../../shared/clock.ts';
import type { Logger } from '../../shared/log.ts';
import type { Metrics } from '../../shared/metrics.ts';

const LOOK_EVERY_MS = 5_000;
/** Counted so far: a target that was away for a week must not cost a scan of the log at each look. */
const COUNTED_MOST = 100_000;

export interface LagOptions {
  readonly pool: string;
  readonly targets: readonly string[];
  readonly postgres: pg.Pool;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Until the signal. Never throws: what can't be looked up keeps its last count, and its age grows. */
export async function watchLag(
  { pool, targets, postgres, log, metrics }: LagOptions,
  signal: AbortSignal,
): Promise<void> {
  const oldest = new Map<string, number | null>();
  const done = metrics.onScrape(() => {
    for (const [target, at] of oldest)
      metrics.publisherLagSeconds.set({ pool, target }, at === null ? 0 : Math.max(0, (Date.now() - at) / 1000));
  });
  while (!signal.aborted) {
    try {
      for (const { name, changes, at } of await lags(postgres, pool, targets)) {
        metrics.publisherLagChanges.set({ pool, target: name }, changes);
        oldest.set(name, at);
      }
    } catch (error) {
      log.debug({ err: error }, 'could not look how far the targets are behind');
    }
    await sleep(LOOK_EVERY_MS, signal);
  }
  done();
}

/** What follows the position, and what the position has passed but waits for another try. `read` is not delivered, so it is no lag. */
async function lags(postgres: pg.Pool, pool: string, targets: readonly string[]) {
  const behind = `from cognito_feed.changes c where c.pool = s.pool and (c.lsn, c.seq) > (s.confirmed_lsn, s.confirmed_seq) and c.op <> 'read'`;
  const pending = 'from cognito_feed.pending_deliveries p where p.subscription = s.name and p.pool = s.pool';
  const { rows } = await postgres.query<{ name: string; changes: number; at: number | null }>(
    `select name,
       (select count(*)::int from (select 1 ${behind} limit ${COUNTED_MOST}) counted) + (select count(*)::int ${pending}) as changes,
       extract(epoch from least(
         (select committed_at ${behind} order by c.lsn, c.seq limit 1),
         (select min(c.committed_at) from cognito_feed.changes c
          where c.pool = s.pool and (c.lsn, c.seq) = (select p.lsn, p.seq ${pending} order by p.lsn, p.seq limit 1))
       ))::float8 * 1000 as at
     from cognito_feed.subscriptions s where pool = $1 and name = any($2)`,
    [pool, targets],
  );
  return rows;
}
