import type pg from 'pg';
import { UserFacingError } from '../../../shared/errors.ts';
import { closePostgres, connectPostgres } from '../../../shared/postgres.ts';
import type { PoolSettings } from '../../../shared/settings.ts';
import { restoreForeignTable } from '../../writer/foreign-table.ts';
import { type MigrateResult, migrate as migrateDatabase } from '../../writer/migrate.ts';
import type { CommandContext } from '../command.ts';

/** Creates or upgrades the objects of every database in the settings; says what it did, one line each. */
export async function migrate(context: CommandContext): Promise<number> {
  const { settings, options, stdout } = context;
  const replaces = options['replaceForeignTable'] === true;
  const restores = options['restoreForeignTable'] === true;
  if (replaces && restores)
    throw new UserFacingError('--replace-foreign-table and --restore-foreign-table: one of them at a time', 2);
  if (replaces) {
    // It brings poller and writer with it, which no other migration has to load.
    const { replaceForeignTables } = await import('../replace-foreign-table.ts');
    return await replaceForeignTables(context, (mirrors) => migrateMirrors(mirrors, context));
  }
  if (!restores) {
    await migrateMirrors(settings.pools, context);
    return 0;
  }
  for (const pool of settings.pools) {
    const lines = await inDatabase(pool, (postgres) => restoreForeignTable(postgres, pool.targetTable));
    for (const line of lines) stdout.write(`${line}\n`);
  }
  return 0;
}

async function migrateMirrors(pools: readonly PoolSettings[], { options, stdout, log }: CommandContext): Promise<void> {
  const roles = options['roles'] === true;
  for (const mirrors of byDatabase(pools)) {
    const { applied, warnings } = await migrateOne(mirrors, roles);
    for (const warning of warnings) log.warn(warning);
    for (const line of applied.length > 0 ? applied : ['nothing to do: the database is up to date'])
      stdout.write(`${line}\n`);
  }
}

/** The mirrors that share a database and a publication, together. */
function byDatabase(pools: readonly PoolSettings[]): PoolSettings[][] {
  const groups = new Map<string, PoolSettings[]>();
  for (const pool of pools) {
    const key = JSON.stringify([pool.databaseUrl, pool.publication]);
    groups.set(key, [...(groups.get(key) ?? []), pool]);
  }
  return [...groups.values()];
}

async function migrateOne(mirrors: readonly PoolSettings[], roles: boolean): Promise<MigrateResult> {
  const [first] = mirrors;
  if (first === undefined) return { applied: [], warnings: [] };
  const targets = mirrors.map((mirror) => mirror.targetTable);
  const { publication } = first;
  return await inDatabase(first, (postgres) => migrateDatabase(postgres, { targets, publication, roles }));
}

async function inDatabase<T>(
  { databaseUrl, databaseAuth }: PoolSettings,
  work: (postgres: pg.Pool) => Promise<T>,
): Promise<T> {
  const auth = databaseAuth === null ? {} : { auth: databaseAuth };
  const postgres = connectPostgres({ url: databaseUrl, ...auth, applicationName: 'cognito-feed migrate', max: 1 });
  try {
    return await work(postgres);
  } finally {
    await closePostgres(postgres);
  }
}
