import { UserFacingError } from '../../../shared/errors.ts';
import type { CommandContext } from '../command.ts';

/** One scan, now, applied. */
export async function sync(_context: CommandContext): Promise<number> {
  throw new UserFacingError('sync is not built yet');
}
