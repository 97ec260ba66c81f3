/**
 * The whole feed for one test: an emulated pool, a migrated database and a Redis, with poller and writer in this process and their log in memory.
 * Everything of it is gone when the test has finished, but the Redis, which is the file's.
 */
import type pg from 'pg';
import { afterAll, beforeAll, inject, onTestFinished } from 'vitest';
import { runTogether } from '../services/cli/together.ts';
import { wantScan } from '../services/poller/conductor.ts';
import { type PollerOptions, runPoller } from '../services/poller/main.ts';
import { runWriter } from '../services/writer/main.ts';
import { migrate } from '../services/writer/migrate.ts';
import { identify } from '../services/writer/slot-setup.ts';
import type { MirrorTag } from '../shared/keys.ts';
import { createLog, type Logger } from '../shared/log.ts';
import { Readiness } from '../shared/readiness.ts';
import { createRedisClient, Redis } from '../shared/redis.ts';
import { type LastScan, readScans } from '../shared/scan-record.ts';
import { loadSettings, type Settings } from '../shared/settings.ts';
import type { Env } from '../shared/settings-source.ts';
import { Emulator } from './emulator/emulator.ts';
import type { Pool } from './emulator/pool.ts';
import { connected, freshDatabase } from './fresh-database.ts';
import { type ComparisonOptions, expectEqualRows, mirrorRows, poolRows } from './rows.ts';
import type { Database } from './servers/database.ts';
import { type RedisOptions, type RedisServer, startRedis } from './servers/redis.ts';
import { type Synced, syncHere } from './sync-here.ts';
import { until } from './until.ts';

export interface FileRedis {
  readonly server: RedisServer;
}

/** One Redis for the tests of a file; keys carry the mirror's identity, so they don't meet. */
export function redisOfFile(options: RedisOptions = {}): FileRedis {
  let started: RedisServer | undefined;
  beforeAll(async () => {
    started = await startRedis(options);
  });
  afterAll(() => started?.stop());
  return {
    get server() {
      if (started === undefined) throw new Error('only inside a test');
      return started;
    },
  };
}

export interface FeedOptions {
  readonly redis: FileRedis;
  /** The superuser's URL of a Postgres; 18 unless told. */
  readonly postgres?: string;
  /** Over what is set below. */
  readonly settings?: Env;
  /** The pool's emulator; a fresh one unless told. */
  readonly emulator?: Emulator;
  /** Default: the emulator's first. */
  readonly poolId?: string;
  /** Another feed's, to share it; a fresh, migrated one unless told. */
  readonly database?: Database;
}

/** One process' worth of poller and writer. */
export interface Running {
  readonly readiness: Readiness;
  /** Settled when it has ended. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

export async function startFeed(options: FeedOptions): Promise<Feed> {
  const database = options.database ?? (await freshDatabase(options.postgres ?? inject('postgres18')));
  const emulator = options.emulator ?? (await freshEmulator());
  const feed = new Feed(options, database, emulator);
  await migrate(feed.postgres, {
    targets: feed.settings.pools.map(({ targetTable }) => targetTable),
    publication: 'cognito_users',
    roles: false,
  });
  return feed;
}

export async function freshEmulator(...options: Parameters<typeof Emulator.start>): Promise<Emulator> {
  const emulator = await Emulator.start(...options);
  onTestFinished(() => emulator.stop());
  return emulator;
}

export class Feed {
  readonly emulator: Emulator;
  readonly pool: Pool;
  readonly database: Database;
  readonly postgres: pg.Pool;
  readonly redis: Redis;
  readonly env: Env;
  readonly settings: Settings;
  /** Finished lines of every service that ran here. */
  readonly logged: string[] = [];
  readonly log: Logger;

  /** @see startFeed */
  constructor({ redis, poolId, settings }: FeedOptions, database: Database, emulator: Emulator) {
    // In process the SDK looks for them where it always does.
    process.env['AWS_ACCESS_KEY_ID'] ??= 'emulated';
    process.env['AWS_SECRET_ACCESS_KEY'] ??= 'emulated';
    this.emulator = emulator;
    this.pool = emulator.pool(poolId);
    this.database = database;
    this.env = {
      COGNITO_USER_POOL_ID: this.pool.id,
      AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: emulator.endpoint,
      DATABASE_URL: database.url,
      REDIS_URL: redis.server.url,
      REQUESTS_PER_SECOND: '1000',
      // Tests ask for their scans.
      POLL_INTERVAL: '1h',
      // And count requests.
      HOT_INTERVAL: '',
      HTTP_PORT: '',
      LOG_LEVEL: 'trace',
      LOG_FORMAT: 'json',
      ...settings,
    };
    this.settings = loadSettings(this.env, { needs: { pool: true, redis: true, database: true } });
    this.log = createLog({ ...this.settings, to: { write: (line) => void this.logged.push(line) } });
    this.postgres = connected(database.url, 3);
    const client = createRedisClient({ url: redis.server.url, ca: null });
    this.redis = new Redis(client);
    onTestFinished(() => client.disconnect());
  }

  /** The command, in this process. */
  sync(env: Env = {}): Promise<Synced> {
    return syncHere(loadSettings({ ...this.env, ...env }), this.log);
  }

  run(options?: PollerOptions): Running {
    return this.#start((signal, readiness) => runTogether(this.settings, this.log, signal, readiness, options));
  }

  runWriter(): Running {
    return this.#start((signal, readiness) => runWriter(this.settings, this.log, signal, readiness));
  }

  runPoller(): Running {
    return this.#start((signal, readiness) => runPoller(this.settings, this.log, signal, readiness));
  }

  #start(work: (signal: AbortSignal, readiness: Readiness) => Promise<void>): Running {
    const stop = new AbortController();
    const readiness = new Readiness({ start: 'not yet' });
    const ended = work(stop.signal, readiness);
    readiness.holds('start');
    ended.catch(() => undefined);
    const running = {
      readiness,
      ended,
      async stop() {
        stop.abort();
        await ended;
      },
    };
    onTestFinished(async () => {
      stop.abort();
      await ended.catch(() => undefined);
    });
    return running;
  }

  /** The mirror's place in Redis. */
  tag(pool = this.settings.pools[0]): Promise<MirrorTag> {
    if (pool === undefined) throw new Error('no pool');
    return identify(this.postgres, pool.poolId, pool.targetTable);
  }

  /** Has the running services scan once more, and waits for its end, complete or not. */
  async scan(): Promise<LastScan> {
    const tag = await this.tag();
    const wanted = await wantScan(this.redis, tag);
    return await until(
      'a scan',
      async () => {
        const { last } = await readScans(this.redis, tag);
        return last !== null && last.floor > wanted ? last : undefined;
      },
      () => this.logged.slice(-15).join(''),
    );
  }

  mirrorRows() {
    return mirrorRows(this.postgres, this.#target());
  }

  poolRows() {
    return poolRows(this.pool);
  }

  async expectMirrorEqualsPool(options?: ComparisonOptions): Promise<void> {
    expectEqualRows(await this.mirrorRows(), this.poolRows(), options);
  }

  async query<R extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<R[]> {
    const { rows } = await this.postgres.query<R>(text, [...values]);
    return rows;
  }

  /** This pool's row in `cognito_feed.slots`. */
  async slot(): Promise<SlotRow> {
    const [slot] = await this.query<SlotRow>(
      `select timeline::text, state, confirmed_lsn::int as lsn, commit_id::text as commit, floor, as_of, users::int as users, resync_reason
       from cognito_feed.slots where pool = $1`,
      [this.pool.id],
    );
    if (slot === undefined) throw new Error('no slot');
    return slot;
  }

  #target(): string {
    const { schema = '', name = '' } = this.settings.pools[0]?.targetTable ?? {};
    return `"${schema}"."${name}"`;
  }
}

export interface SlotRow {
  readonly timeline: string;
  readonly state: 'copying' | 'streaming';
  readonly lsn: number;
  readonly commit: string;
  readonly floor: Date;
  readonly as_of: Date | null;
  readonly users: number;
  readonly resync_reason: string | null;
}
