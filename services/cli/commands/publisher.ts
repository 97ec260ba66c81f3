import { runPublisher } from '../../publisher/main.ts';
import type { CommandContext } from '../command.ts';
import { serve } from '../serve.ts';

/** The publisher alone, until it is told to stop. */
export function publisher(context: CommandContext): Promise<number> {
  const { signal } = context;
  return serve(context, 'publisher', ({ settings, log, readiness, metrics }) =>
    runPublisher(settings, log, signal, readiness, {}, metrics),
  );
}
