/**
 * The writer's two phases: everything that can be refused is refused before it works; then it works until it is told to stop.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { backOffMs, sleep } from '../../shared/clock.ts';
import { classify, oneLine, UserFacingError } from '../../shared/errors.ts';
import type { MirrorTag } from '../../shared/keys.ts';
import type { Logger } from '../../shared/log.ts';
import { createMetrics, type Metrics } from '../../shared/metrics.ts';
import { closePostgres, connectPostgres, withClient } from '../../shared/postgres.ts';
import { checkWriterDatabase } from '../../shared/postgres-check.ts';
import type { Readiness } from '../../shared/readiness.ts';
import { createRedisClient, evictionWarning, Redis } from '../../shared/redis.ts';
import { watchConnection } from '../../shared/redis-watch.ts';
import type { PoolSettings, Settings } from '../../shared/settings.ts';
import { Trouble } from '../../shared/trouble.ts';
import { MirrorGauges } from './mirror-gauges.ts';
import { ensureSlot, identify } from './slot-setup.ts';
import { MirrorWriter } from './writer.ts';

const RETRY_FIRST_MS = 250;
const RETRY_MOST_MS = 10_000;
/** A batch, its waiter's look at who blocks it, a rebuild and its switch, and one to spare. */
const CONNECTIONS = 6;
const READINESS_EVERY_MS = 500;

/**
 * Runs the writers of all pools until the signal.
 * @throws UserFacingError for what no waiting mends: a database that is not migrated, a mirror of another pool
 */
export async function runWriter(
  settings: Settings,
  log: Logger,
  signal: AbortSignal,
  readiness?: Readiness,
  metrics: Metrics = createMetrics(),
): Promise<void> {
  const redis = new Redis(createRedisClient({ url: settings.redisUrl, ca: settings.redisCa }));
  const failure = new AbortController();
  const stop = AbortSignal.any([signal, failure.signal]);
  watchConnection(redis, stop, log, readiness);
  try {
    await Promise.all(
      settings.pools.map((pool) =>
        runMirror(pool, redis, log.child({ pool: pool.poolId }), stop, metrics, readiness).catch((error: unknown) => {
          failure.abort();
          throw error;
        }),
      ),
    );
  } finally {
    redis.client.disconnect();
  }
}

async function runMirror(
  settings: PoolSettings,
  redis: Redis,
  log: Logger,
  signal: AbortSignal,
  metrics: Metrics,
  readiness?: Readiness,
): Promise<void> {
  const condition = `writer of ${settings.poolId}`;
  const postgres = connectPostgres({
    url: settings.databaseUrl,
    auth: settings.databaseAuth ?? 'password',
    applicationName: 'cognito-feed writer',
    max: CONNECTIONS,
    onConnectionLost: (error) => log.debug({ err: error }, 'an idle connection to Postgres ended'),
  });
  try {
    readiness?.fails(condition, 'starting');
    const trouble = new Trouble(log);
    const waiting = (error: unknown) => {
      readiness?.fails(condition, oneLine(error));
      trouble.met(error, 'start yet');
    };
    const tag = await patiently(() => prepare(postgres, settings, log), waiting, signal);
    if (tag === null) return;
    await patiently(async () => warnOfEviction(redis, log), waiting, signal);
    const writer = new MirrorWriter({ settings, tag, postgres, redis, log, signal, metrics });
    const gauges = new MirrorGauges({ settings, tag, postgres, redis, log, metrics });
    const looking = gauges.run(signal);
    const watch = setInterval(() => {
      const trouble = writer.trouble();
      if (trouble === null) readiness?.holds(condition);
      else readiness?.fails(condition, trouble);
    }, READINESS_EVERY_MS);
    try {
      await writer.run();
    } finally {
      clearInterval(watch);
      gauges.stop();
      await looking;
    }
  } finally {
    await closePostgres(postgres);
  }
}

async function prepare(postgres: pg.Pool, settings: PoolSettings, log: Logger): Promise<MirrorTag> {
  const { warnings } = await withClient(postgres, (client) =>
    checkWriterDatabase(client, settings.targetTable, settings.publication),
  );
  for (const warning of warnings) log.warn(warning);
  await ensureSlot(postgres, settings.poolId, settings.targetTable, [randomUUID(), randomUUID()]);
  return await identify(postgres, settings.poolId, settings.targetTable);
}

async function warnOfEviction(redis: Redis, log: Logger): Promise<void> {
  const warning = await evictionWarning(redis);
  if (warning !== null) log.error(warning);
}

/** Until it succeeds; null when the signal came first. @throws what no waiting mends */
async function patiently<T>(
  work: () => Promise<T>,
  onWait: (error: unknown) => void,
  signal: AbortSignal,
): Promise<T | null> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (error instanceof UserFacingError || classify(error).action !== 'retry') throw error;
      onWait(error);
      await sleep(backOffMs(attempt, RETRY_FIRST_MS, RETRY_MOST_MS), signal);
    }
  }
  return null;
}
