/**
 * Is a user whom the scan misses really gone? First an exact look, which costs no money and clears most; then AdminGetUser, which alone is proof.
 */
import type { Upsert } from '../../shared/change.ts';
import { exactly, FILTER_CHARACTERS } from '../../shared/cognito.ts';
import { classify, oneLine } from '../../shared/errors.ts';
import { isStandIn, mayBeAltered, rowOf, subOf } from '../../shared/user.ts';
import { observe } from './diff.ts';
import { PoolFailure, type PoolReader } from './pages.ts';

export interface Suspect {
  readonly sub: string;
  readonly username: string;
}

/** Somebody looks by exact filter: there, as observed; or not shown. */
export type Look =
  | { readonly shown: true; readonly observed: Upsert }
  | { readonly shown: false; readonly observedAt: number };

/**
 * proved: gone, as of a request that began then. exists: it is there, whatever the lists say. held: nobody can say; the reason, for the operator.
 */
export type Proof =
  | { readonly verdict: 'proved'; readonly observedAt: number }
  | { readonly verdict: 'exists' }
  | { readonly verdict: 'held'; readonly reason: string };

/** ListUsers by `sub = "…"`; for a stand-in, which no pool knows, by its username. */
export async function exactLook(reader: PoolReader, suspect: Suspect, timeline: string): Promise<Look> {
  const filter = isStandIn(suspect.sub) ? exactly('username', suspect.username) : exactly('sub', suspect.sub);
  if (filter.length > FILTER_CHARACTERS) return { shown: false, observedAt: 0 };
  let token: string | null = null;
  let observedAt: number | null = null;
  // A page can be empty and still carry a token.
  for (let pages = 0; pages < 10; pages++) {
    const page = await reader.page(filter, token, 'scan');
    observedAt ??= page.observedAt;
    for (const user of page.users) {
      const observed = observe(user, timeline, page.observedAt);
      const same = isStandIn(suspect.sub) ? observed.row.username === suspect.username : observed.sub === suspect.sub;
      if (same) return { shown: true, observed };
    }
    token = page.token;
    if (token === null) break;
  }
  return { shown: false, observedAt: observedAt ?? 0 };
}

/** AdminGetUser by username. UserNotFoundException is proof, and so is another sub under that very Username. */
export async function prove(reader: PoolReader, { sub, username }: Suspect): Promise<Proof> {
  if (mayBeAltered(username)) {
    return {
      verdict: 'held',
      reason: 'its username holds characters that Postgres can not store, so Cognito can not be asked for it',
    };
  }
  try {
    const { user, observedAt } = await reader.user(username);
    if (user === null) return { verdict: 'proved', observedAt };
    const row = rowOf(user);
    if (row.username !== username) {
      return { verdict: 'held', reason: 'AdminGetUser answers with another user, who has this username as an alias' };
    }
    return isStandIn(sub) || subOf(row) === sub ? { verdict: 'exists' } : { verdict: 'proved', observedAt };
  } catch (error) {
    // An outage ends the scan; where AdminGetUser itself is refused, the deletes wait for whoever can grant it.
    if (error instanceof PoolFailure && classify(error.cause).kind === 'aws-denied')
      return { verdict: 'held', reason: oneLine(error.cause) };
    throw error;
  }
}
