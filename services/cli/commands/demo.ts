import { UserFacingError } from '../../../shared/errors.ts';
import type { CommandContext } from '../command.ts';

/** Everything on servers of its own. */
export async function demo(_context: CommandContext): Promise<number> {
  throw new UserFacingError('demo is not built yet');
}
