/**
 * Which users pool, mirror and snapshot disagree about. Pure.
 */
import type { Fingerprint } from '../../../shared/fingerprint.ts';
import type { Entry } from '../../../shared/snapshot.ts';
import { standInSub } from '../../../shared/user.ts';
import type { Noted } from './pile.ts';

/** missing: in the pool, not in the mirror. ghost: the other way round. different: in both, but not the same. */
export type Kind = 'missing' | 'ghost' | 'different';

/** One user as the three show it; null: it is not there. */
export interface Standing {
  readonly sub: string;
  readonly pool: { readonly username: string; readonly fingerprint: Fingerprint } | null;
  readonly row: { readonly username: string; readonly fingerprint: Fingerprint } | null;
  readonly entry: Pick<Entry, 'username' | 'fingerprint'> | null;
}

export function kindOf({ pool, row }: Standing): Kind | null {
  if (pool === null) return row === null ? null : 'ghost';
  if (row === null) return 'missing';
  return pool.fingerprint === row.fingerprint ? null : 'different';
}

/** The snapshot does not say what the mirror holds. */
export const drifts = ({ row, entry }: Standing): boolean =>
  row?.fingerprint !== entry?.fingerprint || row?.username !== entry?.username;

export const disagree = (standing: Standing): boolean => kindOf(standing) !== null || drifts(standing);

/**
 * Of one group of users those that the three disagree about.
 * @param inPool null: the pool is not asked here
 */
export function disagreements(
  inPool: Iterable<Noted>,
  inMirror: Iterable<Noted>,
  inSnapshot: Iterable<{ readonly sub: string; readonly entry: Entry }>,
): Standing[] {
  const all = new Map<string, { -readonly [Key in keyof Standing]: Standing[Key] }>();
  const of = (sub: string) => {
    let standing = all.get(sub);
    if (standing === undefined) {
      standing = { sub, pool: null, row: null, entry: null };
      all.set(sub, standing);
    }
    return standing;
  };
  for (const noted of inPool) of(noted.sub).pool = noted;
  for (const noted of inMirror) {
    const standing = of(noted.sub);
    if (standing.row === null) standing.row = noted;
    // A copy that a hand made of a row. The snapshot knows it by a stand-in (services/writer/agreement.ts).
    else of(standInSub(noted.username)).row = noted;
  }
  for (const { sub, entry } of inSnapshot) of(sub).entry = entry;
  return [...all.values()].filter(disagree);
}
