/**
 * What the long-running commands share: the HTTP server beside the work, and the work named for the shutdown's deadline.
 */
import { oneLine } from '../../shared/errors.ts';
import { type HttpRoute, startHttp } from '../../shared/http.ts';
import { createLog, type Logger } from '../../shared/log.ts';
import { createProcessMetrics, type Metrics } from '../../shared/metrics.ts';
import { Readiness } from '../../shared/readiness.ts';
import type { Settings } from '../../shared/settings.ts';
import { Trouble } from '../../shared/trouble.ts';
import type { CommandContext } from './command.ts';
import { awaitForeignPools, namesForeignServer } from './foreign-pools.ts';
import { statusPage } from './status-page.ts';

/** What a service works with. */
export interface Served {
  /** With the pools that foreign servers name. */
  readonly settings: Settings;
  /** One that cuts out their keys too. */
  readonly log: Logger;
  readonly readiness: Readiness;
  readonly metrics: Metrics;
}

/**
 * @returns 0 when the work has ended after a signal
 * @throws what the work throws; the HTTP server is closed first
 */
export async function serve(
  context: CommandContext,
  name: string,
  work: (served: Served) => Promise<void>,
  routes: readonly HttpRoute[] = [],
): Promise<number> {
  const { settings, log, shutdown } = context;
  for (const warning of settings.warnings) log.warn(warning);
  const readiness = new Readiness();
  const metrics = createProcessMetrics();
  const http =
    settings.httpPort === null
      ? null
      : await startHttp(
          {
            host: settings.httpHost,
            port: settings.httpPort,
            metrics: { contentType: metrics.contentType, metrics: () => metrics.scrape() },
            notReady: () => readiness.reasons(),
            statusPage: statusPage(context, name, () => readiness.reasons()),
            routes,
          },
          log,
        );
  const done = shutdown.underWay(name);
  try {
    const found = await foreignPools(context, readiness);
    if (found !== null) await work({ ...found, readiness, metrics });
  } finally {
    done();
    await http?.close();
  }
  return 0;
}

/** null: the signal came first. */
async function foreignPools(
  { settings, needs = {}, log, signal }: CommandContext,
  readiness: Readiness,
): Promise<Pick<Served, 'settings' | 'log'> | null> {
  if (!namesForeignServer(settings, needs)) return { settings, log };
  const condition = 'foreign server';
  readiness.fails(condition, 'starting');
  const trouble = new Trouble(log);
  const waiting = (error: unknown) => {
    readiness.fails(condition, oneLine(error));
    trouble.met(error, 'read the foreign server yet');
  };
  const found = await awaitForeignPools(settings, needs, waiting, signal);
  if (found === null) return null;
  readiness.holds(condition);
  trouble.over();
  return { settings: found, log: createLog(found) };
}
