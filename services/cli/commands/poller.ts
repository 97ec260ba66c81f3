import { Inbox } from '../../poller/inbox.ts';
import { runPoller } from '../../poller/main.ts';
import { refreshRoutes } from '../../poller/refresh-route.ts';
import type { CommandContext } from '../command.ts';
import { serve } from '../serve.ts';

/** The poller alone, until it is told to stop. */
export function poller(context: CommandContext): Promise<number> {
  const { settings, signal } = context;
  const inbox = new Inbox();
  const routes = refreshRoutes(settings.refreshToken, inbox);
  return serve(
    context,
    'poller',
    ({ settings, log, readiness, metrics }) => runPoller(settings, log, signal, readiness, { inbox, metrics }),
    routes,
  );
}
