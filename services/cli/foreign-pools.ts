/**
 * Settings that name a Wrappers server instead of a pool: the server is read once, at the start, and what it says stands in its place. The keys go
 * into Cognito's client alone: into no environment, no log, and to no service that does not ask Cognito.
 */
import { backOffMs, sleep } from '../../shared/clock.ts';
import { classify, UserFacingError } from '../../shared/errors.ts';
import { readForeignServer } from '../../shared/foreign-server.ts';
import { closePostgres, connectPostgres, withClient } from '../../shared/postgres.ts';
import { type Needs, type PoolSettings, type Settings, SettingsError } from '../../shared/settings.ts';
import { checkApart } from '../../shared/settings-together.ts';

const RETRY_FIRST_MS = 250;
const RETRY_MOST_MS = 10_000;

/** What a command needs to know of a pool that a server names. */
type Wanted = Pick<Needs, 'pool' | 'keys'>;

/** Whether a server is still to be read for a command with these needs. */
export const namesForeignServer = ({ pools }: Settings, { pool = false }: Wanted): boolean =>
  pool && pools.some(({ poolId, foreignServer }) => poolId === '' && foreignServer !== null);

/**
 * The settings with every pool in them, those that `--pool` chooses.
 * @throws UserFacingError for a server that lacks something; SettingsError where the pools are not those of the settings after all
 */
export async function readForeignPools(settings: Settings, wanted: Wanted): Promise<Settings> {
  if (!namesForeignServer(settings, wanted)) return settings;
  const { chosenPool } = settings;
  const all = await Promise.all(settings.pools.map((pool) => readPool(pool, wanted.keys === true)));
  const pools = chosenPool === null ? all : all.filter(({ poolId }) => poolId === chosenPool);
  const problems: string[] = [];
  if (pools.length === 0) {
    const known = all.map(({ poolId }) => poolId).join(', ');
    problems.push(`--pool is ${JSON.stringify(chosenPool)}, none of the pools in the settings: ${known}`);
  }
  checkApart(pools, problems);
  if (problems.length > 0) throw new SettingsError(problems);
  const keys = all.flatMap(({ credentials }) => credentials?.secretAccessKey ?? []);
  return { ...settings, pools, secrets: [...new Set([...settings.secrets, ...keys])] };
}

/**
 * As `readForeignPools`, for a service: it waits for a Postgres that is away.
 * @returns null when the signal came first
 */
export async function awaitForeignPools(
  settings: Settings,
  wanted: Wanted,
  onWait: (error: unknown) => void,
  signal: AbortSignal,
): Promise<Settings | null> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await readForeignPools(settings, wanted);
    } catch (error) {
      const waits = !(error instanceof UserFacingError || error instanceof SettingsError);
      if (!waits || classify(error).action !== 'retry') throw error;
      onWait(error);
      await sleep(backOffMs(attempt, RETRY_FIRST_MS, RETRY_MOST_MS), signal);
    }
  }
  return null;
}

async function readPool(pool: PoolSettings, withKeys: boolean): Promise<PoolSettings> {
  const { foreignServer, poolId, databaseUrl, databaseAuth, endpoints } = pool;
  if (poolId !== '' || foreignServer === null) return pool;
  const auth = databaseAuth ?? 'password';
  const postgres = connectPostgres({ url: databaseUrl, auth, applicationName: 'cognito-feed settings', max: 1 });
  try {
    const server = await withClient(postgres, (client) => readForeignServer(client, foreignServer, withKeys));
    return {
      ...pool,
      poolId: server.poolId,
      region: server.region,
      endpoints: { ...endpoints, cognito: server.endpoint ?? endpoints.cognito },
      credentials: server.keys,
    };
  } finally {
    await closePostgres(postgres);
  }
}
