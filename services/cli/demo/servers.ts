/** What the demo stands on: Postgres, Redis and a pool, each its own or on a server that the settings name; all of it goes when it ends. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { UserFacingError } from '../../../shared/errors.ts';
import type { MirrorTag } from '../../../shared/keys.ts';
import { closePostgres, connectPostgres } from '../../../shared/postgres.ts';
import { createRedisClient, Redis } from '../../../shared/redis.ts';
import type { Releasers } from '../../../shared/releasers.ts';
import { loadSettings, type PoolSettings, type Settings } from '../../../shared/settings.ts';
import { Emulator } from '../../../test/emulator/emulator.ts';
import { startPostgres } from '../../../test/servers/postgres.ts';
import { startRedis } from '../../../test/servers/redis.ts';
import { migrate } from '../../writer/migrate.ts';
import { identify } from '../../writer/slot-setup.ts';
import { type OwnDatabase, ownDatabase, withoutPassword } from './own-database.ts';
import { removeKeys } from './own-keys.ts';

/** An emulator has no quota, and a watcher no patience. */
export const POLL_INTERVAL = '250ms';
export const REQUESTS_PER_SECOND = 1_000;

export interface Servers {
  readonly settings: Settings;
  readonly pool: PoolSettings;
  readonly emulator: Emulator;
  readonly postgres: pg.Pool;
  readonly redis: Redis;
  readonly tag: MirrorTag;
  /** One line each, for people. */
  readonly about: { readonly postgres: string; readonly redis: string };
  /** For `psql`. */
  readonly psqlUrl: string;
}

export interface ServerWishes {
  /** As the environment has them: '' where the demo starts its own. */
  readonly given: Settings;
  /** As the user typed it; undefined: not at all. */
  readonly logLevel: string | undefined;
  /** Told of what takes a while. */
  readonly say: (line: string) => void;
}

/** @throws UserFacingError in one line, for what is missing on this machine */
export async function startServers({ add }: Releasers, wishes: ServerWishes): Promise<Servers> {
  const { given, logLevel, say } = wishes;
  const redis = given.redisUrl !== '' ? given.redisUrl : await ownRedis(add, say);
  const database = await demoDatabase(add, given);
  add('database', () => database.drop());
  const emulator = await Emulator.start({ pools: [{ id: `eu-west-1_Demo${randomBytes(3).toString('hex')}` }] });
  add('emulated pool', () => emulator.stop());
  useEmulatedCredentials();
  // A Region of its own has a budget of its own: a deployment in the same Redis keeps its pace.
  const region = `demo-${randomBytes(4).toString('hex')}`;
  const settings = loadSettings(
    {
      COGNITO_USER_POOL_ID: emulator.pool().id,
      AWS_REGION: region,
      AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: emulator.endpoint,
      DATABASE_URL: database.url,
      DATABASE_AUTH: given.pools[0]?.databaseAuth ?? '',
      REDIS_URL: redis,
      REDIS_CA: given.redisCa ?? '',
      POLL_INTERVAL,
      REQUESTS_PER_SECOND: String(REQUESTS_PER_SECOND),
      LOG_LEVEL: logLevel ?? 'warn',
    },
    { needs: { pool: true, database: true, redis: true } },
  );
  const [pool] = settings.pools;
  if (pool === undefined) throw new Error('the demo has no pool');
  const postgres = connectPostgres({
    url: pool.databaseUrl,
    auth: pool.databaseAuth ?? 'password',
    applicationName: 'cognito-feed demo',
    max: 3,
  });
  add('connections to Postgres', () => closePostgres(postgres));
  const client = createRedisClient({ url: settings.redisUrl, ca: settings.redisCa });
  add('connection to Redis', () => client.disconnect());
  await migrate(postgres, { targets: [pool.targetTable], publication: pool.publication, roles: false });
  const tag = await identify(postgres, pool.poolId, pool.targetTable);
  if (given.redisUrl !== '') add('keys in Redis', () => removeKeys(client, tag, region));
  return {
    settings,
    pool,
    emulator,
    postgres,
    redis: new Redis(client),
    tag,
    about: {
      postgres: await aboutPostgres(postgres, database, given),
      redis: await aboutRedis(client, given),
    },
    psqlUrl: (given.pools[0]?.databaseUrl ?? '') === '' ? database.url : withoutPassword(database.url),
  };
}

async function ownRedis(add: Releasers['add'], say: (line: string) => void): Promise<string> {
  const server = await orSay(startRedis({ say }));
  add('Redis', () => server.stop());
  return server.url;
}

async function demoDatabase(add: Releasers['add'], given: Settings): Promise<OwnDatabase> {
  const [theirs] = given.pools;
  if (theirs !== undefined && theirs.databaseUrl !== '') {
    return await ownDatabase({ url: theirs.databaseUrl, auth: theirs.databaseAuth ?? 'password' });
  }
  const server = await orSay(startPostgres());
  add('Postgres', () => server.stop());
  return await ownDatabase({ url: server.url(), auth: 'password' }, 'demo');
}

/** What the test servers throw says in one line what is missing; it holds no value of anybody's. */
async function orSay<T>(starting: Promise<T>): Promise<T> {
  try {
    return await starting;
  } catch (error) {
    throw new UserFacingError((error as Error).message, 1, { cause: error });
  }
}

/** The emulator takes any; real ones have no business here, and a profile would be looked for before these. */
function useEmulatedCredentials(): void {
  for (const name of ['AWS_PROFILE', 'AWS_SESSION_TOKEN']) delete process.env[name];
  process.env['AWS_ACCESS_KEY_ID'] = 'emulated';
  process.env['AWS_SECRET_ACCESS_KEY'] = 'emulated';
}

async function aboutPostgres(postgres: pg.Pool, { name }: OwnDatabase, given: Settings): Promise<string> {
  const { rows } = await postgres.query<{ version: string }>(`select current_setting('server_version') as version`);
  const version = /^[\d.]+/.exec(rows[0]?.version ?? '')?.[0] ?? '';
  const own = (given.pools[0]?.databaseUrl ?? '') === '';
  return own ? `${version}, started for this` : `${version}, yours, in a database of its own: ${name}`;
}

async function aboutRedis(client: ReturnType<typeof createRedisClient>, given: Settings): Promise<string> {
  const info = await client.info('server');
  const field = (name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1];
  const version = field('valkey_version') === undefined ? field('redis_version') : `Valkey ${field('valkey_version')}`;
  return given.redisUrl === '' ? `${version}, started for this` : `${version}, yours, under keys of its own`;
}
