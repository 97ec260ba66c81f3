/**
 * `migrate --replace-foreign-table`: the mirror is made and filled beside the foreign table by the ordinary path, then takes its place. Every step
 * may be the last: what has been done stands in Postgres, and the same command goes on there.
 */
import type pg from 'pg';
import type { MirrorTag } from '../../shared/keys.ts';
import { createRedisClient } from '../../shared/redis.ts';
import type { PoolSettings } from '../../shared/settings.ts';
import { checkReplaceable, mirrorBeside, replaceForeignTable } from '../writer/foreign-table.ts';
import type { MigrateResult } from '../writer/migrate.ts';
import { identify, targetName } from '../writer/slot-setup.ts';
import type { CommandContext } from './command.ts';
import { sync } from './commands/sync.ts';
import { withPostgres } from './join.ts';
import { removeMirrorKeys } from './mirror-keys.ts';

/** What a migration of these mirrors' databases did has been said when it returns. */
export type MigrateMirrors = (mirrors: readonly PoolSettings[]) => Promise<void>;

/** @returns 0; 1 where the initial copy is not complete */
export async function replaceForeignTables(context: CommandContext, migrateMirrors: MigrateMirrors): Promise<number> {
  const { settings, stdout, stderr, log } = context;
  const replaced: PoolSettings[] = [];
  const standing: PoolSettings[] = [];
  for (const pool of settings.pools) {
    const found = await withPostgres(pool, (postgres) => checkReplaceable(postgres, pool.targetTable));
    (found === 'mirror' ? standing : replaced).push(pool);
  }
  if (standing.length > 0) await migrateMirrors(standing);
  for (const { targetTable } of standing)
    stdout.write(`nothing to replace: ${targetName(targetTable)} is the mirror already\n`);
  if (replaced.length === 0) return 0;
  // Published under its own name only: subscribers know tables by name.
  const beside = replaced.map((pool) => ({
    ...pool,
    targetTable: mirrorBeside(pool.targetTable),
    publication: null,
  }));
  await migrateMirrors(beside);
  const copied = await sync({ ...context, settings: { ...settings, pools: beside } });
  if (copied === 1) {
    stderr.write('the initial copy is not complete: nothing was replaced; run it again\n');
    return 1;
  }
  for (const [i, pool] of replaced.entries()) {
    const { applied, warnings } = await withPostgres(pool, (postgres) =>
      swap(context, pool, beside[i] ?? pool, postgres),
    );
    for (const warning of warnings) log.warn(warning);
    for (const line of applied) stdout.write(`${line}\n`);
  }
  return 0;
}

async function swap(
  { settings }: CommandContext,
  pool: PoolSettings,
  beside: PoolSettings,
  postgres: pg.Pool,
): Promise<MigrateResult> {
  const tag = await identify(postgres, pool.poolId, beside.targetTable);
  const result = await replaceForeignTable(postgres, pool.targetTable, pool.publication);
  await forget(settings.redisUrl, settings.redisCa, tag);
  return result;
}

/** Keys carry the mirror's name, which is another now: under that one the first start builds the snapshot anew, from the mirror. */
async function forget(url: string, ca: string | null, tag: MirrorTag): Promise<void> {
  const client = createRedisClient({ url, ca });
  try {
    await removeMirrorKeys(client, tag);
  } finally {
    client.disconnect();
  }
}
