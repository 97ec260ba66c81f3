/**
 * Several services in one process. They know nothing of each other here either: what one needs of another goes through Redis.
 */
import type { Logger } from '../../shared/log.ts';
import type { Readiness } from '../../shared/readiness.ts';
import type { Settings } from '../../shared/settings.ts';
import { type PollerOptions, runPoller } from '../poller/main.ts';
import { runWriter } from '../writer/main.ts';

export interface TogetherOptions extends PollerOptions {
  /** Whether changes are delivered too, where a target is set. */
  readonly delivers?: boolean;
}

/**
 * Runs poller and writer, and the publisher where asked, until the signal, or until one of them fails; the others are then stopped first.
 * @throws the first failure
 */
export async function runTogether(
  settings: Settings,
  log: Logger,
  signal: AbortSignal,
  readiness?: Readiness,
  options: TogetherOptions = {},
): Promise<void> {
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const services: Promise<void>[] = [];
  const begin = (service: Promise<void>) => {
    service.catch(() => failed.abort());
    services.push(service);
  };
  // First those that say at once that they are not ready.
  begin(runWriter(settings, log.child({ service: 'writer' }), stop, readiness, options.metrics));
  begin(runPoller(settings, log.child({ service: 'poller' }), stop, readiness, options));
  // The SDK's client for EventBridge is loaded only by who delivers.
  const publisher = options.delivers === true ? await import('../publisher/main.ts') : null;
  if (publisher?.hasTargets(settings))
    begin(publisher.runPublisher(settings, log.child({ service: 'publisher' }), stop, readiness, {}, options.metrics));
  const outcomes = await Promise.allSettled(services);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}
