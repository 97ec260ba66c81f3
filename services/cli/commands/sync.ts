import type pg from 'pg';
import type { Redis } from '../../../shared/redis.ts';
import type { LastScan } from '../../../shared/scan-record.ts';
import type { PoolSettings } from '../../../shared/settings.ts';
import type { CommandContext, Output } from '../command.ts';
import { joined, reachEverything, scanOnce, standingMirror, withPostgres } from '../join.ts';
import { progressBar } from '../progress.ts';

/**
 * One scan, now, applied; beside a running deployment, as one more replica of it.
 * @returns 0 applied; 1 failed, or rows stand rejected; 3 deletes stand held
 */
export async function sync(context: CommandContext): Promise<number> {
  const { settings, log, stdout, stderr } = context;
  for (const warning of settings.warnings) log.warn(warning);
  const redis = await reachEverything(settings);
  try {
    const codes = await joined(context, 'sync', (signal) =>
      Promise.all(settings.pools.map((pool) => syncPool(pool, redis, signal, stdout, stderr))),
    );
    return codes.includes(1) ? 1 : Math.max(...codes);
  } finally {
    redis.client.disconnect();
  }
}

async function syncPool(
  pool: PoolSettings,
  redis: Redis,
  signal: AbortSignal,
  stdout: Output,
  stderr: Output,
): Promise<number> {
  const bar = progressBar(stderr, pool.poolId);
  return await withPostgres(pool, async (postgres) => {
    try {
      const tag = await standingMirror(pool, postgres, redis, signal);
      const outcome = await scanOnce(tag, redis, signal, (users, estimate) => bar.show(users, estimate));
      bar.stop();
      return report(pool.poolId, outcome, await standing(postgres, pool.poolId), stdout, stderr);
    } finally {
      bar.stop();
    }
  });
}

function report(
  pool: string,
  scan: LastScan,
  { rejects, held }: { rejects: number; held: number },
  stdout: Output,
  stderr: Output,
): number {
  const { users, pages, seconds, inserted, updated, deleted } = scan;
  stdout.write(
    `${pool}: ${users} users in ${pages} pages, ${seconds.toFixed(1)} s: ${inserted} inserted, ${updated} updated, ${deleted} deleted; ${held} deletes held, ${rejects} rows rejected\n`,
  );
  if (!scan.complete) {
    stderr.write(`${pool}: the scan is not complete: ${scan.reason}\n`);
    return 1;
  }
  return rejects > 0 ? 1 : held > 0 ? 3 : 0;
}

async function standing(postgres: pg.Pool, poolId: string): Promise<{ rejects: number; held: number }> {
  const { rows } = await postgres.query<{ rejects: string; held: string }>(
    'select rejects, held_deletes as held from cognito_feed.status where pool = $1',
    [poolId],
  );
  return { rejects: Number(rows[0]?.rejects ?? 0), held: Number(rows[0]?.held ?? 0) };
}
