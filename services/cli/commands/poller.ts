import { runPoller } from '../../poller/main.ts';
import type { CommandContext } from '../command.ts';
import { serve } from '../serve.ts';

/** The poller alone, until it is told to stop. */
export function poller(context: CommandContext): Promise<number> {
  const { settings, log, signal } = context;
  return serve(context, 'poller', (readiness) => runPoller(settings, log, signal, readiness));
}
