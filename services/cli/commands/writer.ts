import { runWriter } from '../../writer/main.ts';
import type { CommandContext } from '../command.ts';

/** The writer alone, until it is told to stop. */
export async function writer({ settings, log, signal }: CommandContext): Promise<number> {
  await runWriter(settings, log, signal);
  return 0;
}
