/**
 * What an observation means against the snapshot. Pure. It saves the writer work; the writer decides (services/writer/decide.ts).
 */
import type { Upsert } from '../../shared/change.ts';
import { fingerprintOf } from '../../shared/fingerprint.ts';
import type { Known } from '../../shared/snapshot.ts';
import { type CognitoUser, rowOf, subOf } from '../../shared/user.ts';

/** One user as one response showed it. `observedAt`: when its request began, milliseconds by Redis's clock. */
export function observe(user: CognitoUser, timeline: string, observedAt: number): Upsert {
  const row = rowOf(user);
  return { kind: 'upsert', sub: subOf(row), fingerprint: fingerprintOf(row, timeline), observedAt, row };
}

/**
 * unchanged: the mirror is confirmed to hold it so. superseded: it is known from a later observation. ghost: its sub is dead.
 */
export type Difference = 'unchanged' | 'superseded' | 'ghost' | 'changed';

export function diff(observed: Upsert, { entry, tombstoned }: Known): Difference {
  if (tombstoned) return 'ghost';
  if (entry === null) return 'changed';
  if (entry.fingerprint === observed.fingerprint) return 'unchanged';
  return observed.observedAt <= entry.observedAt ? 'superseded' : 'changed';
}
