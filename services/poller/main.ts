/**
 * The poller's two phases: what can be refused is refused before anything connects (by the settings); then it serves every mirror of its pools that a
 * writer announces, until it is told to stop. It knows nothing of Postgres.
 */
import { type Announcement, announced, SILENT_MS } from '../../shared/announcement.ts';
import { sleep } from '../../shared/clock.ts';
import { connectUserPool, type UserPool } from '../../shared/cognito.ts';
import type { MirrorTag } from '../../shared/keys.ts';
import type { Logger } from '../../shared/log.ts';
import { createMetrics, type Metrics } from '../../shared/metrics.ts';
import type { Readiness } from '../../shared/readiness.ts';
import { createRedisClient, Redis } from '../../shared/redis.ts';
import { watchConnection } from '../../shared/redis-watch.ts';
import type { PoolSettings, Settings } from '../../shared/settings.ts';
import { connectEventQueue } from '../../shared/sqs.ts';
import { Trouble } from '../../shared/trouble.ts';
import { Budget } from './budget.ts';
import { consumeEvents } from './event-consumer.ts';
import { Inbox } from './inbox.ts';
import { measured } from './measured-pool.ts';
import { MirrorPoller } from './mirror-poller.ts';

const LOOK_EVERY_MS = 500;
/** Through the worst of AWS's bad half hours a scan goes on where it stood; older observations would count no more. */
const PATIENCE_MS = 30 * 60_000;

interface Running {
  readonly pool: string;
  readonly poller: MirrorPoller;
  readonly stop: AbortController;
  readonly done: Promise<void>;
  /** A Redis that lost everything knows no announcement until the writer's next one. */
  announcedAt: number;
}

export interface PollerOptions {
  /** How long a request to Cognito is tried again; a one-shot command waits less. */
  readonly patienceMs?: number;
  /** Whether it begins scans; default true. */
  readonly conducts?: boolean;
  /** Whether it walks hot lanes and takes events from SQS; default true. */
  readonly listens?: boolean;
  /** Where hints over HTTP arrive; it is opened here. */
  readonly inbox?: Inbox;
  readonly metrics?: Metrics;
}

/** Runs until the signal. */
export async function runPoller(
  settings: Settings,
  log: Logger,
  signal: AbortSignal,
  readiness?: Readiness,
  {
    patienceMs = PATIENCE_MS,
    conducts = true,
    listens = true,
    inbox = new Inbox(),
    metrics = createMetrics(),
  }: PollerOptions = {},
): Promise<void> {
  const redis = new Redis(createRedisClient({ url: settings.redisUrl, ca: settings.redisCa }));
  watchConnection(redis, signal, log, readiness);
  const doors = new Map(
    settings.pools.map((pool) => [pool.poolId, openPool(pool, redis, settings.requestsPerSecond, metrics)]),
  );
  const running = new Map<MirrorTag, Running>();
  inbox.open(new Set(settings.pools.map(({ poolId }) => poolId)), () =>
    [...running.values()].flatMap(({ pool, poller }) => {
      const hints = poller.hints();
      return hints === null ? [] : [{ pool, hints }];
    }),
  );
  const consuming = listens ? consume(settings, inbox, log, signal) : Promise.resolve();
  const trouble = new Trouble(log);
  for (const pool of settings.pools)
    readiness?.fails(`poller of ${pool.poolId}`, 'no writer has announced its mirror yet');
  while (!signal.aborted) {
    try {
      const mirrors = await announced(redis);
      for (const { poolId } of settings.pools) {
        const mine = mirrors.filter(({ pool }) => pool === poolId);
        for (const mirror of mine) serve(mirror);
        report(poolId, mine);
      }
      for (const [tag, one] of running) {
        if (mirrors.some((mirror) => mirror.tag === tag)) one.announcedAt = performance.now();
        else if (performance.now() - one.announcedAt > SILENT_MS) one.stop.abort();
        else one.poller.stand(null);
      }
      trouble.over();
    } catch (error) {
      if (signal.aborted) break;
      trouble.met(error, 'look for mirrors');
      for (const pool of settings.pools) readiness?.fails(`poller of ${pool.poolId}`, trouble.line ?? '');
    }
    await sleep(LOOK_EVERY_MS, signal);
  }
  await consuming;
  inbox.close();
  for (const { stop } of running.values()) stop.abort();
  await Promise.all([...running.values()].map(({ done }) => done));
  for (const { userPool } of doors.values()) userPool.close();
  redis.client.disconnect();

  function serve({ tag, pool: poolId, target, timeline }: Announcement): void {
    const pool = settings.pools.find((candidate) => candidate.poolId === poolId);
    const door = doors.get(poolId);
    if (pool === undefined || door === undefined) return;
    let one = running.get(tag);
    if (one === undefined) {
      const child = log.child({ pool: poolId, target });
      const poller = new MirrorPoller({
        settings: pool,
        tag,
        redis,
        ...door,
        log: child,
        patienceMs,
        conducts,
        listens,
        metrics,
      });
      const stop = new AbortController();
      const done = poller.run(stop.signal).finally(() => running.delete(tag));
      one = { pool: poolId, poller, stop, done, announcedAt: performance.now() };
      running.set(tag, one);
      child.info('serving a mirror');
    }
    one.poller.stand(timeline);
  }

  function report(poolId: string, mine: readonly Announcement[]): void {
    const condition = `poller of ${poolId}`;
    const troubles = mine.flatMap(({ tag }) => running.get(tag)?.poller.trouble() ?? []);
    if (mine.length === 0) readiness?.fails(condition, 'no writer announces its mirror');
    else if (troubles[0] !== undefined) readiness?.fails(condition, troubles[0]);
    else readiness?.holds(condition);
  }
}

function openPool(
  pool: PoolSettings,
  redis: Redis,
  requestsPerSecond: number,
  metrics: Metrics,
): { userPool: UserPool; budget: Budget } {
  const { poolId, region, endpoints, credentials } = pool;
  const place = { region: region ?? 'default' };
  metrics.budgetLimit.set(place, requestsPerSecond);
  return {
    userPool: measured(connectUserPool({ poolId, region, endpoint: endpoints.cognito, credentials }), poolId, metrics),
    budget: new Budget(redis, place.region, requestsPerSecond, (purpose) =>
      metrics.budgetUsed.inc({ ...place, purpose }),
    ),
  };
}

/** Several pools may share a queue: it is read once. */
async function consume(settings: Settings, inbox: Inbox, log: Logger, signal: AbortSignal): Promise<void> {
  const queues = new Map(settings.pools.map((pool) => [pool.sqsQueueUrl, pool]));
  await Promise.all(
    [...queues].map(async ([url, { region, endpoints }]) => {
      if (url === null) return;
      const queue = connectEventQueue({ url, region, endpoint: endpoints.sqs });
      await consumeEvents(queue, inbox, log, signal);
      queue.close();
    }),
  );
}
