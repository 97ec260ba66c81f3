/** What was asked of the emulator, counted. */
import type { Emulator } from './emulator/emulator.ts';

/** ListUsers requests that named one user. */
export const exactLists = (emulator: Emulator): number =>
  emulator.record.lists.filter(({ filter }) => /^(sub|username) = /.test(filter ?? '')).length;
