/**
 * What the long-running commands share: the HTTP server beside the work, and the work named for the shutdown's deadline.
 */
import { type HttpRoute, startHttp } from '../../shared/http.ts';
import { createProcessMetrics, type Metrics } from '../../shared/metrics.ts';
import { Readiness } from '../../shared/readiness.ts';
import type { CommandContext } from './command.ts';

/**
 * @returns 0 when the work has ended after a signal
 * @throws what the work throws; the HTTP server is closed first
 */
export async function serve(
  { settings, log, shutdown }: CommandContext,
  name: string,
  work: (readiness: Readiness, metrics: Metrics) => Promise<void>,
  routes: readonly HttpRoute[] = [],
): Promise<number> {
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
            routes,
          },
          log,
        );
  const done = shutdown.underWay(name);
  try {
    await work(readiness, metrics);
  } finally {
    done();
    await http?.close();
  }
  return 0;
}
