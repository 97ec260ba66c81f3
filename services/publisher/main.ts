/**
 * The publisher's two phases: everything that can be refused is refused before it works; then it delivers, until it is told to stop. It reads Postgres
 * alone.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { backOffMs, sleep } from '../../shared/clock.ts';
import { classify, oneLine, UserFacingError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { createMetrics, type Metrics } from '../../shared/metrics.ts';
import { closePostgres, connectPostgres, withClient } from '../../shared/postgres.ts';
import { checkMigrations, checkServer } from '../../shared/postgres-check.ts';
import type { Readiness } from '../../shared/readiness.ts';
import type { PoolSettings, Settings } from '../../shared/settings.ts';
import { machineClock } from '../../shared/shutdown.ts';
import type { Target } from './delivery.ts';
import { createEventBusTarget } from './event-bus-target.ts';
import { watchLag } from './lag.ts';
import { type PublisherTuning, TargetPublisher } from './target-publisher.ts';
import { createWebhookTarget } from './webhook-target.ts';

const RETRY_FIRST_MS = 250;
const RETRY_MOST_MS = 10_000;
const READINESS_EVERY_MS = 500;
/** After a signal: deliveries under way get 5 s, the last position the rest; a Postgres that doesn't answer by then is left. */
const POSTGRES_LEFT_AFTER_MS = 7_000;
/** A page, a checkpoint, and rows that are read again. */
const CONNECTIONS = 4;

/** Whether anything is to be delivered. */
export const hasTargets = (settings: Settings): boolean =>
  settings.pools.some(({ eventBusName, webhooks }) => eventBusName !== null || webhooks.length > 0);

/**
 * Delivers the changes of all pools that have a target, until the signal.
 * @throws UserFacingError for what no waiting mends: a database that is not migrated
 */
export async function runPublisher(
  settings: Settings,
  log: Logger,
  signal: AbortSignal,
  readiness?: Readiness,
  tuning: PublisherTuning = {},
  metrics: Metrics = createMetrics(),
): Promise<void> {
  const failure = new AbortController();
  const stop = AbortSignal.any([signal, failure.signal]);
  const pools = settings.pools.map((pool) =>
    runPool(pool, log.child({ pool: pool.poolId }), stop, readiness, tuning, metrics).catch((error: unknown) => {
      failure.abort();
      throw error;
    }),
  );
  const outcomes = await Promise.allSettled(pools);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

async function runPool(
  settings: PoolSettings,
  log: Logger,
  signal: AbortSignal,
  readiness: Readiness | undefined,
  tuning: PublisherTuning,
  metrics: Metrics,
): Promise<void> {
  const targets = targetsOf(settings, tuning);
  if (targets.length === 0) return;
  const condition = (name: string) => `publisher ${name} of ${settings.poolId}`;
  for (const { name } of targets) readiness?.fails(condition(name), 'starting');
  const postgres = connectPostgres({
    url: settings.databaseUrl,
    auth: settings.databaseAuth ?? 'password',
    applicationName: 'cognito-feed publisher',
    max: CONNECTIONS,
    onConnectionLost: (error) => log.debug({ err: error }, 'an idle connection to Postgres ended'),
  });
  const leave = () => machineClock.after(POSTGRES_LEFT_AFTER_MS, () => void closePostgres(postgres, 0));
  signal.addEventListener('abort', leave, { once: true });
  try {
    const waiting = (error: unknown) => {
      for (const { name } of targets) readiness?.fails(condition(name), oneLine(error));
      log.warn({ err: error }, `waiting: ${oneLine(error)}`);
    };
    await untilChecked(postgres, log, waiting, signal);
    const holder = randomUUID();
    const publishers = targets.map(
      (target) =>
        new TargetPublisher({
          ...{ pool: settings.poolId, target, postgres, holder, tuning, metrics },
          log: log.child({ target: target.name }),
        }),
    );
    const watch = setInterval(() => {
      publishers.forEach((publisher, i) => {
        const trouble = publisher.trouble();
        const name = condition(targets[i]?.name ?? '');
        if (trouble === null) readiness?.holds(name);
        else readiness?.fails(name, trouble);
      });
    }, READINESS_EVERY_MS);
    const names = targets.map(({ name }) => name);
    try {
      await Promise.all([
        ...publishers.map((publisher) => publisher.run(signal)),
        watchLag({ pool: settings.poolId, targets: names, postgres, log, metrics }, signal),
      ]);
    } finally {
      clearInterval(watch);
    }
  } finally {
    signal.removeEventListener('abort', leave);
    for (const target of targets) target.close();
    await closePostgres(postgres);
  }
}

function targetsOf(settings: PoolSettings, { webhookTimeoutMs, lookup }: PublisherTuning): Target[] {
  const { eventBusName, eventSource, eventValues, region, endpoints, webhooks, targetTable } = settings;
  const webhookTuning = {
    ...(webhookTimeoutMs === undefined ? {} : { timeoutMs: webhookTimeoutMs }),
    ...(lookup === undefined ? {} : { lookup }),
  };
  const bus =
    eventBusName === null
      ? []
      : [
          createEventBusTarget({
            ...{ busName: eventBusName, source: eventSource, values: eventValues },
            ...{ region, endpoint: endpoints.events },
          }),
        ];
  return [...bus, ...webhooks.map((webhook) => createWebhookTarget({ webhook, table: targetTable, ...webhookTuning }))];
}

/** Waits while Postgres is away. @throws what no waiting mends */
async function untilChecked(
  postgres: pg.Pool,
  log: Logger,
  onWait: (error: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      await withClient(postgres, async (client) => {
        for (const warning of (await checkServer(client)).warnings) log.warn(warning);
        await checkMigrations(client);
      });
      return;
    } catch (error) {
      if (error instanceof UserFacingError || classify(error).action !== 'retry') throw error;
      onWait(error);
      await sleep(backOffMs(attempt, RETRY_FIRST_MS, RETRY_MOST_MS), signal);
    }
  }
}
