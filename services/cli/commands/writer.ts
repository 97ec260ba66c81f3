import { runWriter } from '../../writer/main.ts';
import type { CommandContext } from '../command.ts';
import { serve } from '../serve.ts';

/** The writer alone, until it is told to stop. */
export function writer(context: CommandContext): Promise<number> {
  const { signal } = context;
  return serve(context, 'writer', ({ settings, log, readiness, metrics }) =>
    runWriter(settings, log, signal, readiness, metrics),
  );
}
