/**
 * What a look at one user means for the hint that led to it. Pure. ARCHITECTURE.md, "Refresh", has the argument.
 */
import type { Upsert } from '../../shared/change.ts';
import type { Known } from '../../shared/snapshot.ts';
import { diff } from './diff.ts';
import type { Hint } from './hint.ts';
import type { Look, Suspect } from './proof.ts';

/**
 * How long after a look the next one at the same user may come, milliseconds: what lists show lags by seconds as a rule, and what they still don't
 * show then is the scan's. The first look comes at once.
 */
export const LADDER_MS = [0, 1_000, 3_000, 8_000, 20_000] as const;
export const LOOKS_MOST = LADDER_MS.length;

export interface LookVerdict {
  /** What differs from the snapshot. */
  readonly change: Upsert | null;
  /**
   * settled: nothing is left to do. again: to be looked at again, by and by. suspect: to be proved gone.
   */
  readonly next: 'settled' | 'again' | 'suspect';
  /** Who is suspected, and when the look's request began. */
  readonly missing: { readonly suspect: Suspect; readonly lookedAt: number } | null;
}

const settled: LookVerdict = { change: null, next: 'settled', missing: null };
const again: LookVerdict = { change: null, next: 'again', missing: null };

/**
 * @param looks how many there were, this one included
 * @param known what the snapshot says of the user that was shown; where none was, of the one that the hint names (null: nobody knows who that is)
 */
export function judgeLook(
  hint: Pick<Hint, 'expect' | 'since'>,
  looks: number,
  look: Look,
  known: (Known & { readonly sub: string }) | null,
): LookVerdict {
  const verdict = look.shown ? judgeShown(hint, look.observed, known) : judgeAbsent(hint, looks, look, known);
  return verdict.next === 'again' && looks >= LOOKS_MOST ? { ...verdict, next: 'settled' } : verdict;
}

function judgeShown({ expect, since }: Pick<Hint, 'expect' | 'since'>, observed: Upsert, known: Known | null) {
  const difference = known === null ? 'changed' : diff(observed, known);
  const change = difference === 'changed' ? observed : null;
  const verdict = (next: 'settled' | 'again'): LookVerdict => ({ change, next, missing: null });
  if (expect === 'nothing' || difference === 'ghost') return verdict('settled');
  if (expect === 'delete') return verdict('again');
  // Somebody has looked at him later than we.
  if (difference === 'superseded') return verdict('settled');
  const { updatedAt } = observed.row;
  if (since === null || updatedAt === null) return verdict(change === null ? 'again' : 'settled');
  return verdict(updatedAt >= since ? 'settled' : 'again');
}

function judgeAbsent(
  { expect }: Pick<Hint, 'expect'>,
  looks: number,
  look: Extract<Look, { shown: false }>,
  known: (Known & { readonly sub: string }) | null,
): LookVerdict {
  if (known?.tombstoned) return settled;
  const entry = known?.entry ?? null;
  if (known === null || entry === null) return expect === 'change' ? again : settled;
  if (entry.observedAt > look.observedAt) return settled;
  // A list may lag: who should be there is looked for all the way, and only then suspected.
  if (expect === 'change' && looks < LOOKS_MOST) return again;
  const suspect = { sub: known.sub, username: entry.username };
  return { change: null, next: 'suspect', missing: { suspect, lookedAt: look.observedAt } };
}
