/**
 * Several services in one process. They know nothing of each other here either: what one needs of another goes through Redis.
 */
import type { Logger } from '../../shared/log.ts';
import type { Readiness } from '../../shared/readiness.ts';
import type { Settings } from '../../shared/settings.ts';
import { type PollerOptions, runPoller } from '../poller/main.ts';
import { runWriter } from '../writer/main.ts';

/**
 * Runs poller and writer until the signal, or until one of them fails; the other is then stopped first.
 * @throws the first failure
 */
export async function runTogether(
  settings: Settings,
  log: Logger,
  signal: AbortSignal,
  readiness?: Readiness,
  options?: PollerOptions,
): Promise<void> {
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const services = [
    runWriter(settings, log.child({ service: 'writer' }), stop, readiness),
    runPoller(settings, log.child({ service: 'poller' }), stop, readiness, options),
  ];
  for (const service of services) service.catch(() => failed.abort());
  const outcomes = await Promise.allSettled(services);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}
