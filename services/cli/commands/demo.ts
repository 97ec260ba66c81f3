import { UserFacingError } from '../../../shared/errors.ts';
import type { Command, CommandContext } from '../command.ts';

/** Not written into the import, so that a build leaves the demo out, with the test servers and the emulator that it runs on. */
const DEMO = '../demo/demo.ts';

/** Everything on servers of its own. */
export async function demo(context: CommandContext): Promise<number> {
  const { runDemo } = await load();
  return await runDemo(context);
}

async function load(): Promise<{ readonly runDemo: Command }> {
  try {
    return (await import(DEMO)) as { runDemo: Command };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new UserFacingError(
      'the demo runs from a checkout with its development dependencies: npm install && npm run demo',
    );
  }
}
