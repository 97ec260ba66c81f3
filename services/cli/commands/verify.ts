import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type pg from 'pg';
import { observationTime } from '../../../shared/clock.ts';
import { connectUserPool } from '../../../shared/cognito.ts';
import type { MirrorTag } from '../../../shared/keys.ts';
import type { Redis } from '../../../shared/redis.ts';
import type { PoolSettings } from '../../../shared/settings.ts';
import { Budget } from '../../poller/budget.ts';
import { PoolFailure, PoolReader } from '../../poller/pages.ts';
import { resync } from '../../writer/resync.ts';
import { ensureSlot, identify } from '../../writer/slot-setup.ts';
import type { CommandContext } from '../command.ts';
import { joined, PATIENCE_MS, reachEverything, scanOnce, standingMirror, withPostgres } from '../join.ts';
import { progressBar } from '../progress.ts';
import { type Comparison, compare } from '../verify/compare.ts';

const DRIFT = 4;

/**
 * Compares pool, snapshot and mirror; with `--repair` has what differs put right by a resync and a scan, and compares again.
 * @returns 0 equal; 4 drift
 */
export async function verify(context: CommandContext): Promise<number> {
  const { settings, options, stdout } = context;
  const json = options['json'] === true;
  const redis = await reachEverything(settings);
  try {
    const pools: Comparison[] = [];
    for (const pool of settings.pools) {
      await withPostgres(pool, async (postgres) => {
        await ensureSlot(postgres, pool.poolId, pool.targetTable, [randomUUID(), randomUUID()]);
        const tag = await identify(postgres, pool.poolId, pool.targetTable);
        let comparison = await compareWith(context, pool, tag, postgres, redis);
        if (!json) stdout.write(told(comparison));
        if (!comparison.equal && options['repair'] === true) {
          await repair(context, pool, tag, postgres, redis, comparison);
          comparison = await compareWith(context, pool, tag, postgres, redis);
          if (!json)
            stdout.write(`${pool.poolId}: repaired by the ordinary path, and compared again\n${told(comparison)}`);
        }
        pools.push(comparison);
      });
    }
    if (json) stdout.write(`${JSON.stringify({ pools })}\n`);
    return pools.every(({ equal }) => equal) ? 0 : DRIFT;
  } finally {
    redis.client.disconnect();
  }
}

async function compareWith(
  { settings, log, signal, stderr }: CommandContext,
  pool: PoolSettings,
  tag: MirrorTag,
  postgres: pg.Pool,
  redis: Redis,
): Promise<Comparison> {
  const { poolId, region, endpoints, credentials } = pool;
  const userPool = connectUserPool({ poolId, region, endpoint: endpoints.cognito, credentials });
  const bar = progressBar(stderr, poolId);
  try {
    setMaxListeners(0, signal);
    const estimate = await userPool.estimatedUsers().catch(() => null);
    const reader = new PoolReader({
      userPool,
      budget: new Budget(redis, region ?? 'default', settings.requestsPerSecond),
      clock: () => observationTime(redis, tag),
      signal,
      patienceMs: PATIENCE_MS,
      onRetry: (error) => log.warn({ err: error }, 'trying again to read the pool'),
      onAnswer: () => undefined,
    });
    const onProgress = (users: number) => bar.show(users, estimate);
    return await compare({ settings: pool, tag, postgres, redis, reader, signal, onProgress });
  } catch (error) {
    throw error instanceof PoolFailure ? error.cause : error;
  } finally {
    bar.stop();
    userPool.close();
  }
}

/** A resync where the snapshot does not say what the mirror holds, or rows stand rejected (they are tried again then); and a scan. */
async function repair(
  context: CommandContext,
  pool: PoolSettings,
  tag: MirrorTag,
  postgres: pg.Pool,
  redis: Redis,
  { snapshotDrift }: Comparison,
): Promise<void> {
  const { log, stderr } = context;
  const { rowCount } = await postgres.query('select from cognito_feed.rejects where pool = $1 limit 1', [pool.poolId]);
  const only = { ...context, settings: { ...context.settings, pools: [pool] } };
  await joined(only, 'verify --repair', async (signal) => {
    if (snapshotDrift > 0 || rowCount !== 0)
      await resync({ settings: pool, tag, postgres, redis, log }, 'verify --repair', signal);
    await standingMirror(pool, postgres, redis, signal);
    const scan = await scanOnce(tag, redis, signal, () => undefined);
    if (!scan.complete) stderr.write(`${pool.poolId}: the scan is not complete: ${scan.reason}\n`);
  });
}

function told(comparison: Comparison): string {
  const { pool, equal, users, missing, ghosts, different, snapshotDrift, heldDeletes, examples } = comparison;
  const held = heldDeletes === 0 ? '' : `; ${heldDeletes} deletes held (they are no drift)`;
  if (equal) return `${pool}: equal: ${users} users in pool, snapshot and mirror${held}\n`;
  const lines = [
    `${pool}: drift: of ${users} users in the pool ${missing} are missing from the mirror and ${different} differ there; ` +
      `${ghosts} in the mirror are not in the pool; the snapshot is wrong about ${snapshotDrift}${held}`,
    `${pool}: among them ${examples.map((name) => JSON.stringify(name)).join(', ')}`,
  ];
  return lines.map((line) => `${line}\n`).join('');
}
