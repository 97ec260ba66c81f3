import { UserFacingError } from '../../../shared/errors.ts';
import type { CommandContext } from '../command.ts';

/** How fresh the mirror is. */
export async function status(_context: CommandContext): Promise<number> {
  throw new UserFacingError('status is not built yet');
}
