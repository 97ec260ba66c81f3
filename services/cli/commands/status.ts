import { oneLine, UserFacingError } from '../../../shared/errors.ts';
import { closePostgres, connectPostgres, withClient } from '../../../shared/postgres.ts';
import { checkMigrations, checkServer } from '../../../shared/postgres-check.ts';
import { createRedisClient, Redis } from '../../../shared/redis.ts';
import type { PoolSettings, Settings } from '../../../shared/settings.ts';
import { targetName } from '../../writer/slot-setup.ts';
import type { CommandContext } from '../command.ts';
import { paintFor } from '../paint.ts';
import { type MirrorStatus, readStatus, unknownStatus } from '../status/mirror-status.ts';
import { statusTable } from '../status/table.ts';

/** Where the output is no terminal that says its own. */
const COLUMNS = 80;

/**
 * How fresh each mirror is, and what stands in its way.
 * @returns 0; 1 where a Postgres can't be reached, which is said on stderr in one line
 */
export async function status({ settings, options, stdout, stderr, env }: CommandContext): Promise<number> {
  const redis = settings.redisUrl === '' ? null : createRedisClient({ url: settings.redisUrl, ca: settings.redisCa });
  const door = redis === null ? 'REDIS_URL is not set' : new Redis(redis);
  try {
    const groups = await Promise.all(byDatabase(settings).map((pools) => statusIn(pools, settings, door)));
    const failures = groups.flatMap(({ failure }) => failure ?? []);
    const [only] = failures;
    if (only !== undefined && failures.length === groups.length) throw only;
    const pools = groups.flatMap((group) => group.pools);
    if (options['json'] === true) stdout.write(`${JSON.stringify({ pools })}\n`);
    else if (pools.length === 0) stdout.write('no mirror has been started in this database\n');
    else stdout.write(statusTable(pools, Math.max(60, stdout.columns ?? COLUMNS), paintFor(stdout, env)));
    for (const failure of failures) stderr.write(`cognito-feed: ${oneLine(failure)}\n`);
    return failures.length > 0 ? 1 : 0;
  } finally {
    redis?.disconnect();
  }
}

interface Group {
  readonly pools: MirrorStatus[];
  /** Why this Postgres could not be asked. */
  readonly failure?: unknown;
}

async function statusIn(pools: readonly PoolSettings[], settings: Settings, redis: Redis | string): Promise<Group> {
  const [first] = pools;
  if (first === undefined) return { pools: [] };
  const named = pools.filter(({ poolId }) => poolId !== '');
  try {
    const found = await ask(
      first,
      named.length < pools.length ? chosen(settings) : named.map((it) => it.poolId),
      redis,
    );
    const absent = named.filter(({ poolId }) => !found.some(({ pool }) => pool === poolId));
    return { pools: [...found, ...absent.map((pool) => unknown(pool, 'no writer has started for this pool yet'))] };
  } catch (error) {
    return { pools: named.map((pool) => unknown(pool, oneLine(error))), failure: error };
  }
}

/** Where the settings name no pool, or only the Wrappers server that does: every slot, or the one that `--pool` chose. */
const chosen = ({ chosenPool }: Settings): string[] | null => (chosenPool === null ? null : [chosenPool]);

async function ask(
  { databaseUrl, databaseAuth, pollIntervalMs }: PoolSettings,
  pools: readonly string[] | null,
  redis: Redis | string,
): Promise<MirrorStatus[]> {
  const auth = databaseAuth === null ? {} : { auth: databaseAuth };
  const postgres = connectPostgres({ url: databaseUrl, ...auth, applicationName: 'cognito-feed status', max: 2 });
  try {
    await withClient(postgres, async (client) => {
      await checkServer(client);
      await checkMigrations(client);
    });
    return await readStatus(pools, { postgres, redis, pollIntervalMs });
  } catch (error) {
    throw error instanceof UserFacingError
      ? error
      : new UserFacingError(`Postgres: ${oneLine(error)}`, 1, { cause: error });
  } finally {
    await closePostgres(postgres, 1_000);
  }
}

const unknown = ({ poolId, targetTable }: PoolSettings, warning: string): MirrorStatus =>
  unknownStatus(poolId, targetName(targetTable), warning);

function byDatabase({ pools }: Settings): PoolSettings[][] {
  const groups = new Map<string, PoolSettings[]>();
  for (const pool of pools) groups.set(pool.databaseUrl, [...(groups.get(pool.databaseUrl) ?? []), pool]);
  return [...groups.values()];
}
