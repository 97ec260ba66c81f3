/** Everything that a chaos run runs: real servers, real service processes, a pool that changes; and connections of our own to look with. */
import type pg from 'pg';
import { migrate } from '../../services/writer/migrate.ts';
import { closePostgres, connectPostgres } from '../../shared/postgres.ts';
import type { Releasers } from '../../shared/releasers.ts';
import { createDatabase } from '../servers/database.ts';
import { type PostgresServer, startPostgres } from '../servers/postgres.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { installAudit } from './audit.ts';
import { PoolChild } from './pool-child.ts';
import { Supervised } from './supervised.ts';

export const POOL_ID = 'eu-west-1_EMULATED1';
const TARGET = { schema: 'cognito', name: 'users' };
const PUBLICATION = 'cognito_users';

export interface World {
  readonly redis: RedisServer;
  readonly server: PostgresServer;
  readonly pool: PoolChild;
  readonly pollers: readonly Supervised[];
  readonly writers: readonly Supervised[];
  /** For looking; it connects again by itself. */
  readonly postgres: pg.Pool;
  /** Of every process; it stays when the run fails. */
  readonly logs: string;
  /** How a command of the command line finds everything. */
  readonly env: NodeJS.ProcessEnv;
}

export async function startWorld(seed: string, users: number, logs: string, { add }: Releasers): Promise<World> {
  const [redis, server] = await Promise.all([startRedis({ appendOnly: true }), startPostgres({ major: 18 })]);
  add('Redis', () => redis.stop());
  add('Postgres', () => server.stop());
  const database = await createDatabase(server.url());
  const postgres = connectPostgres({ url: database.url, applicationName: 'chaos', max: 2 });
  add('connections', () => closePostgres(postgres));
  await migrate(postgres, { targets: [TARGET], publication: PUBLICATION, roles: false });
  await installAudit(postgres);
  const pool = await PoolChild.start(users, seed, logs);
  add('pool', () => pool.stop());

  const common = {
    PATH: process.env['PATH'],
    COGNITO_USER_POOL_ID: POOL_ID,
    REDIS_URL: redis.url,
    HTTP_PORT: '',
    LOG_LEVEL: 'debug',
    LOG_FORMAT: 'json',
    // Scan follows scan: there is always one to interrupt.
    POLL_INTERVAL: '500ms',
    REQUESTS_PER_SECOND: '80',
    // Without the guard: after minutes without a complete scan, or a restored backup, a scan rightly misses more than any guard lets pass, and holding
    // them for an operator would be right too. That it holds is the integration tests' to show; here each is proved.
    DELETE_GUARD_COUNT: '',
    DELETE_GUARD_PERCENT: '',
  };
  const cognito = {
    AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: pool.endpoint,
    AWS_ACCESS_KEY_ID: 'emulated',
    AWS_SECRET_ACCESS_KEY: 'emulated',
  };
  const service = async (name: string, command: string, env: NodeJS.ProcessEnv) => {
    const one = await Supervised.start({ name, args: [command], env: { ...common, ...env }, logs });
    add(name, () => one.stop(11_000));
    return one;
  };
  const pollers = [await service('poller-1', 'poller', cognito), await service('poller-2', 'poller', cognito)];
  const db = { DATABASE_URL: database.url };
  const writers = [await service('writer-1', 'writer', db), await service('writer-2', 'writer', db)];
  return { redis, server, pool, pollers, writers, postgres, logs, env: { ...common, ...cognito, ...db } };
}
