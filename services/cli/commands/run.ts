import { Inbox } from '../../poller/inbox.ts';
import { refreshRoutes } from '../../poller/refresh-route.ts';
import type { CommandContext } from '../command.ts';
import { serve } from '../serve.ts';
import { runTogether } from '../together.ts';

/** Poller, writer and, where a target is set, publisher in one process. */
export function run(context: CommandContext): Promise<number> {
  const { settings, signal } = context;
  const inbox = new Inbox();
  const routes = refreshRoutes(settings.refreshToken, inbox);
  const work = { delivers: true, inbox };
  return serve(
    context,
    'run',
    ({ settings, log, readiness, metrics }) => runTogether(settings, log, signal, readiness, { ...work, metrics }),
    routes,
  );
}
