import type pg from 'pg';
import { announced } from '../../../shared/announcement.ts';
import { sleep } from '../../../shared/clock.ts';
import { UserFacingError } from '../../../shared/errors.ts';
import type { MirrorTag } from '../../../shared/keys.ts';
import { connectPostgres, withClient } from '../../../shared/postgres.ts';
import { checkWriterDatabase } from '../../../shared/postgres-check.ts';
import { createRedisClient, Redis } from '../../../shared/redis.ts';
import { type LastScan, readScans, scanProgress } from '../../../shared/scan-record.ts';
import type { PoolSettings, Settings } from '../../../shared/settings.ts';
import { wantScan } from '../../poller/conductor.ts';
import { identify } from '../../writer/slot-setup.ts';
import type { CommandContext, Output } from '../command.ts';
import { progressBar } from '../progress.ts';
import { runTogether } from '../together.ts';

/** A one-shot command doesn't sit out an outage of AWS's. */
const PATIENCE_MS = 20_000;
const LOOK_EVERY_MS = 100;
const CONNECT_MS = 8_000;

/**
 * One scan, now, applied; beside a running deployment, as one more replica of it.
 * @returns 0 applied; 1 failed, or rows stand rejected; 3 deletes stand held
 */
export async function sync(context: CommandContext): Promise<number> {
  const { settings, log, signal, stdout, stderr, shutdown } = context;
  for (const warning of settings.warnings) log.warn(warning);
  await checkEverythingIsThere(settings);
  const done = new AbortController();
  const finished = shutdown.underWay('sync');
  const work = runTogether(settings, log, AbortSignal.any([signal, done.signal]), undefined, {
    patienceMs: PATIENCE_MS,
  });
  work.catch(() => done.abort());
  const redis = new Redis(createRedisClient({ url: settings.redisUrl, ca: settings.redisCa }));
  let code = 0;
  try {
    const codes = await Promise.all(
      settings.pools.map((pool) => syncPool(pool, redis, AbortSignal.any([signal, done.signal]), stdout, stderr)),
    );
    code = codes.includes(1) ? 1 : Math.max(...codes);
  } finally {
    done.abort();
    redis.client.disconnect();
    await work;
    finished();
  }
  return code;
}

/** Postgres or Redis being away ends a one-shot command before it has begun; the scan itself tells of Cognito. */
async function checkEverythingIsThere(settings: Settings): Promise<void> {
  const redis = createRedisClient({ url: settings.redisUrl, ca: settings.redisCa });
  const late = AbortSignal.timeout(CONNECT_MS);
  try {
    await Promise.race([
      redis.ping(),
      sleep(CONNECT_MS, late).then(() => {
        throw new UserFacingError('Redis does not answer: check REDIS_URL');
      }),
    ]);
  } finally {
    redis.disconnect();
  }
  for (const pool of settings.pools) {
    const postgres = connect(pool);
    try {
      await withClient(postgres, (client) => checkWriterDatabase(client, pool.targetTable, pool.publication));
    } finally {
      await postgres.end();
    }
  }
}

async function syncPool(
  pool: PoolSettings,
  redis: Redis,
  signal: AbortSignal,
  stdout: Output,
  stderr: Output,
): Promise<number> {
  const postgres = connect(pool);
  const bar = progressBar(stderr, pool.poolId);
  try {
    const tag = await standingMirror(pool, postgres, redis, signal);
    const wanted = await wantScan(redis, tag);
    let outcome: LastScan | null = null;
    while (outcome === null) {
      signal.throwIfAborted();
      const { current, last } = await readScans(redis, tag);
      if (last !== null && last.floor >= wanted) outcome = last;
      else if (current !== null && current.floor >= wanted) {
        const { users, estimate } = await scanProgress(redis, tag, current.id);
        bar.show(users, estimate);
      }
      await sleep(LOOK_EVERY_MS, signal);
    }
    bar.stop();
    return report(pool.poolId, outcome, await standing(postgres, pool.poolId), stdout, stderr);
  } finally {
    bar.stop();
    await postgres.end();
  }
}

function report(
  pool: string,
  scan: LastScan,
  { rejects, held }: { rejects: number; held: number },
  stdout: Output,
  stderr: Output,
): number {
  const { users, pages, seconds, inserted, updated, deleted } = scan;
  stdout.write(
    `${pool}: ${users} users in ${pages} pages, ${seconds.toFixed(1)} s: ${inserted} inserted, ${updated} updated, ${deleted} deleted; ${held} deletes held, ${rejects} rows rejected\n`,
  );
  if (!scan.complete) {
    stderr.write(`${pool}: the scan is not complete: ${scan.reason}\n`);
    return 1;
  }
  return rejects > 0 ? 1 : held > 0 ? 3 : 0;
}

/** The pool's mirror in this database, once its writer (ours, as a rule) has announced that it stands. */
async function standingMirror(
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

async function standing(postgres: pg.Pool, poolId: string): Promise<{ rejects: number; held: number }> {
  const { rows } = await postgres.query<{ rejects: string; held: string }>(
    'select rejects, held_deletes as held from cognito_feed.status where pool = $1',
    [poolId],
  );
  return { rejects: Number(rows[0]?.rejects ?? 0), held: Number(rows[0]?.held ?? 0) };
}

const connect = (pool: PoolSettings) =>
  connectPostgres({
    url: pool.databaseUrl,
    auth: pool.databaseAuth ?? 'password',
    applicationName: 'cognito-feed sync',
  });
