/**
 * What the one-shot commands share: each joins a running deployment as one more replica of it, or is the whole of it for as long as it takes.
 */
import type pg from 'pg';
import { announced } from '../../shared/announcement.ts';
import { sleep } from '../../shared/clock.ts';
import { UserFacingError } from '../../shared/errors.ts';
import type { MirrorTag } from '../../shared/keys.ts';
import { closePostgres, connectPostgres, withClient } from '../../shared/postgres.ts';
import { checkWriterDatabase } from '../../shared/postgres-check.ts';
import { createRedisClient, Redis } from '../../shared/redis.ts';
import { type LastScan, readScans, scanProgress } from '../../shared/scan-record.ts';
import type { PoolSettings, Settings } from '../../shared/settings.ts';
import { wantScan } from '../poller/conductor.ts';
import type { PollerOptions } from '../poller/main.ts';
import { identify } from '../writer/slot-setup.ts';
import type { CommandContext } from './command.ts';
import { runTogether } from './together.ts';

/** A one-shot command doesn't sit out an outage of AWS's. */
export const PATIENCE_MS = 20_000;
const LOOK_EVERY_MS = 100;
const CONNECT_MS = 8_000;

/**
 * Runs `work` beside a poller and a writer of this process's own, and ends them after it.
 * @throws what they throw, rather than what `work` does: it only sees its signal aborted then
 */
export async function joined<T>(
  { settings, log, signal, shutdown }: CommandContext,
  name: string,
  work: (signal: AbortSignal) => Promise<T>,
  options: PollerOptions = {},
): Promise<T> {
  const done = new AbortController();
  const both = AbortSignal.any([signal, done.signal]);
  const finished = shutdown.underWay(name);
  const services = runTogether(settings, log, both, undefined, {
    patienceMs: PATIENCE_MS,
    listens: false,
    ...options,
  });
  services.catch(() => done.abort());
  try {
    return await work(both);
  } finally {
    done.abort();
    await services;
    finished();
  }
}

/** Postgres or Redis being away ends a one-shot command before it has begun. Gives the connection to Redis, which the caller ends. */
export async function reachEverything(settings: Settings): Promise<Redis> {
  const client = createRedisClient({ url: settings.redisUrl, ca: settings.redisCa });
  try {
    const late = sleep(CONNECT_MS).then(() => {
      throw new UserFacingError('Redis does not answer: check REDIS_URL');
    });
    await Promise.race([client.ping(), late]);
    for (const pool of settings.pools) {
      await withPostgres(pool, (postgres) =>
        withClient(postgres, (one) => checkWriterDatabase(one, pool.targetTable, pool.publication)),
      );
    }
    return new Redis(client);
  } catch (error) {
    client.disconnect();
    throw error;
  }
}

export async function withPostgres<T>(pool: PoolSettings, work: (postgres: pg.Pool) => Promise<T>): Promise<T> {
  const postgres = connectPostgres({
    url: pool.databaseUrl,
    auth: pool.databaseAuth ?? 'password',
    applicationName: 'cognito-feed command',
  });
  try {
    return await work(postgres);
  } finally {
    await closePostgres(postgres);
  }
}

/** The pool's mirror in this database, once its writer has announced that it stands. */
export async function standingMirror(
  { poolId, targetTable }: PoolSettings,
  postgres: pg.Pool,
  redis: Redis,
  signal: AbortSignal,
): Promise<MirrorTag> {
  const tag = await identify(postgres, poolId, targetTable);
  for (;;) {
    signal.throwIfAborted();
    const mirrors = await announced(redis);
    if (mirrors.some((mirror) => mirror.tag === tag && mirror.timeline !== null)) return tag;
    await sleep(LOOK_EVERY_MS, signal);
  }
}

/** Waits for a scan that begins after now. */
export async function scanOnce(
  tag: MirrorTag,
  redis: Redis,
  signal: AbortSignal,
  onProgress: (users: number, estimate: number | null) => void,
): Promise<LastScan> {
  const wanted = await wantScan(redis, tag);
  for (;;) {
    signal.throwIfAborted();
    const { current, last } = await readScans(redis, tag);
    if (last !== null && last.floor >= wanted) return last;
    if (current !== null && current.floor >= wanted) {
      const { users, estimate } = await scanProgress(redis, tag, current.id);
      onProgress(users, estimate);
    }
    await sleep(LOOK_EVERY_MS, signal);
  }
}
