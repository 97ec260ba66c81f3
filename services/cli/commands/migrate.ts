import { closePostgres, connectPostgres } from '../../../shared/postgres.ts';
import type { PoolSettings } from '../../../shared/settings.ts';
import { type MigrateResult, migrate as migrateDatabase } from '../../writer/migrate.ts';
import type { CommandContext } from '../command.ts';

/** Creates or upgrades the objects of every database in the settings; says what it did, one line each. */
export async function migrate({ settings, options, stdout, log }: CommandContext): Promise<number> {
  const roles = options['roles'] === true;
  for (const mirrors of byDatabase(settings.pools)) {
    const { applied, warnings } = await migrateOne(mirrors, roles);
    for (const warning of warnings) log.warn(warning);
    for (const line of applied.length > 0 ? applied : ['nothing to do: the database is up to date'])
      stdout.write(`${line}\n`);
  }
  return 0;
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
  const { databaseUrl, databaseAuth, publication } = first;
  const auth = databaseAuth === null ? {} : { auth: databaseAuth };
  const postgres = connectPostgres({ url: databaseUrl, ...auth, applicationName: 'cognito-feed migrate', max: 1 });
  try {
    return await migrateDatabase(postgres, {
      targets: mirrors.map((mirror) => mirror.targetTable),
      publication,
      roles,
    });
  } finally {
    await closePostgres(postgres);
  }
}
