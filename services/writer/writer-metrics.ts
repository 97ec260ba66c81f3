/** What a writer counts of its batches. */
import { MEANINGLESS_MS } from '../../shared/hint-record.ts';
import type { Metrics } from '../../shared/metrics.ts';
import type { Applied } from './apply.ts';
import type { Commit } from './ledger.ts';

/** Times a batch and counts what became of it. */
export async function countBatch(metrics: Metrics, pool: string, apply: () => Promise<unknown>): Promise<unknown> {
  const applied = metrics.applySeconds.startTimer({ pool });
  const result = await apply();
  applied();
  const { dropped, lsn } = result as Applied;
  metrics.batches.inc({ pool, outcome: dropped > 0 ? 'dropped' : lsn === null ? 'no_news' : 'committed' });
  return result;
}

/** Right after the commit: these are the rows that the change log has. */
export function countCommit(metrics: Metrics, pool: string, { op, plan }: Commit): void {
  const { inserts, updates, deletes } = plan;
  const counts = { [op]: inserts.length, update: updates.length, delete: deletes.length };
  for (const [name, count] of Object.entries(counts)) if (count > 0) metrics.changes.inc({ pool, op: name }, count);
}

/** From Cognito's last-modified date to the commit. */
export function observeLatencies(metrics: Metrics, pool: string, latenciesMs: readonly number[]): void {
  for (const ms of latenciesMs)
    if (ms < MEANINGLESS_MS) metrics.refreshSeconds.observe({ pool }, Math.max(0, ms) / 1000);
}
