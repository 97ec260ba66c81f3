import { runPoller } from '../../poller/main.ts';
import type { CommandContext } from '../command.ts';

/** The poller alone, until it is told to stop. */
export async function poller({ settings, log, signal }: CommandContext): Promise<number> {
  await runPoller(settings, log, signal);
  return 0;
}
