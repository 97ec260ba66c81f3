/**
 * Is a user whom the scan misses really gone? First an exact look, which costs no money and clears most; then AdminGetUser, which alone is proof.
 */
import type { Upsert } from '../../shared/change.ts';
import { exactly, FILTER_CHARACTERS } from '../../shared/cognito.ts';
import { classify, oneLine } from '../../shared/errors.ts';
import { type CognitoUser, isStandIn, mayBeAltered, rowOf, subOf } from '../../shared/user.ts';
import type { Purpose } from './budget.ts';
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
 * proved: gone, as of a request that began then; `holder`: who has the username now. exists: it is there, whatever the lists say. held: nobody can
 * say; the reason, for the operator.
 */
export type Proof =
  | { readonly verdict: 'proved'; readonly observedAt: number; readonly holder: CognitoUser | null }
  | { readonly verdict: 'exists'; readonly observedAt: number; readonly user: CognitoUser }
  | { readonly verdict: 'held'; readonly reason: string };

/** ListUsers by `sub = "…"`; for a stand-in, which no pool knows, by its username. */
export function exactLook(reader: PoolReader, suspect: Suspect, timeline: string): Promise<Look> {
  return isStandIn(suspect.sub)
    ? lookBy(reader, 'username', suspect.username, timeline, 'scan')
    : lookBy(reader, 'sub', suspect.sub, timeline, 'scan');
}

/** ListUsers by exactly this sub or username. */
export async function lookBy(
  reader: PoolReader,
  attribute: 'sub' | 'username',
  name: string,
  timeline: string,
  purpose: Purpose,
): Promise<Look> {
  const filter = exactly(attribute, name);
  if (filter.length > FILTER_CHARACTERS) return { shown: false, observedAt: 0 };
  let token: string | null = null;
  let observedAt: number | null = null;
  // A page can be empty and still carry a token.
  for (let pages = 0; pages < 10; pages++) {
    const page = await reader.page(filter, token, purpose);
    observedAt ??= page.observedAt;
    for (const user of page.users) {
      const observed = observe(user, timeline, page.observedAt);
      if ((attribute === 'sub' ? observed.sub : observed.row.username) === name) return { shown: true, observed };
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
    if (user === null) return { verdict: 'proved', observedAt, holder: null };
    const row = rowOf(user);
    if (row.username !== username) {
      return { verdict: 'held', reason: 'AdminGetUser answers with another user, who has this username as an alias' };
    }
    return isStandIn(sub) || subOf(row) === sub
      ? { verdict: 'exists', observedAt, user }
      : { verdict: 'proved', observedAt, holder: user };
  } catch (error) {
    // An outage ends the scan; where AdminGetUser itself is refused, the deletes wait for whoever can grant it.
    if (error instanceof PoolFailure && classify(error.cause).kind === 'aws-denied')
      return { verdict: 'held', reason: oneLine(error.cause) };
    throw error;
  }
}
