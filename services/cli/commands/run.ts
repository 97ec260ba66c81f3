import { UserFacingError } from '../../../shared/errors.ts';
import type { CommandContext } from '../command.ts';

/** Poller, writer and publisher in one process. */
export async function run(_context: CommandContext): Promise<number> {
  throw new UserFacingError('run is not built yet');
}
