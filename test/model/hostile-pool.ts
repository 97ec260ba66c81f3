/**
 * The pool as it is, and as ListUsers shows it: late, with users missing who exist and users there who are gone. AdminGetUser tells the truth.
 */
import { fingerprintOf } from '../../shared/fingerprint.ts';
import { type CognitoUser, rowOf } from '../../shared/user.ts';
import type { Random } from './random.ts';

interface Version {
  readonly from: number;
  readonly user: CognitoUser;
}

interface PoolUser {
  readonly sub: string;
  readonly username: string;
  readonly createdAt: number;
  deletedAt: number | null;
  readonly versions: Version[];
}

/** How far the lists are behind, in milliseconds, each look by its own luck; and whom they do not show at all. */
export interface Lag {
  readonly ms: number;
  readonly hidden: ReadonlySet<string>;
}

/** Two, so that a handful of users makes several pages. */
const PAGE_USERS = 2;
/** The first digits of subs: some share a shard. */
const SUB_DIGITS = ['0', '7', 'c'] as const;
export const EXACT = {
  lag: { ms: 0, hidden: new Set<string>() } satisfies Lag,
};

/** What tells one state of a user from another, whatever timeline. */
export const stateOf = (row: Parameters<typeof fingerprintOf>[0]): string => fingerprintOf(row, 'the pool');

export class HostilePool {
  lag: Lag = EXACT.lag;
  /** Pages without users that come before the next chain's users, as filters give them. */
  emptyPages = 0;
  /** The next page of a walk fails for longer than patience lasts. */
  failing = false;
  /** The next continuation is refused. */
  refuseToken = false;
  readonly #users = new Map<string, PoolUser>();
  /** By sub: every state that it ever had. */
  readonly #states = new Map<string, Set<string>>();
  #made = 0;

  create(username: string, now: number): void {
    if (this.byUsername(username) !== null) return;
    const n = this.#made++;
    const digit = SUB_DIGITS[n % SUB_DIGITS.length] ?? '0';
    const sub = `${digit}0000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
    const user: PoolUser = { sub, username, createdAt: now, deletedAt: null, versions: [] };
    this.#users.set(sub, user);
    this.#show(user, { updatedAt: now, enabled: true, status: 'UNCONFIRMED' }, now);
  }

  /** @param dated whether the change moves UserLastModifiedDate */
  update(username: string, now: number, dated: boolean): void {
    const user = this.byUsername(username);
    const last = user?.versions.at(-1)?.user;
    if (user === null || last === undefined) return;
    const updatedAt = dated ? now : (last.UserLastModifiedDate?.getTime() ?? now);
    this.#show(user, { updatedAt, enabled: last.Enabled ?? true, status: 'CONFIRMED' }, now);
  }

  disable(username: string, now: number): void {
    const user = this.byUsername(username);
    if (user !== null) this.#show(user, { updatedAt: now, enabled: false, status: 'CONFIRMED' }, now);
  }

  delete(username: string, now: number): void {
    const user = this.byUsername(username);
    if (user !== null) user.deletedAt = now;
  }

  #show(
    user: PoolUser,
    { updatedAt, enabled, status }: { updatedAt: number; enabled: boolean; status: string },
    now: number,
  ): void {
    const version: Version = {
      from: now,
      user: {
        Username: user.username,
        Attributes: [
          { Name: 'sub', Value: user.sub },
          { Name: 'email', Value: `${user.username}@example.com` },
          { Name: 'custom:n', Value: String(user.versions.length) },
        ],
        UserCreateDate: new Date(user.createdAt),
        UserLastModifiedDate: new Date(updatedAt),
        Enabled: enabled,
        UserStatus: status,
      },
    };
    user.versions.push(version);
    const states = this.#states.get(user.sub) ?? new Set();
    states.add(stateOf(rowOf(version.user)));
    this.#states.set(user.sub, states);
  }

  byUsername(username: string): PoolUser | null {
    for (const user of this.#users.values()) {
      if (user.username === username && user.deletedAt === null) return user;
    }
    return null;
  }

  exists(sub: string): boolean {
    const user = this.#users.get(sub);
    return user !== undefined && user.deletedAt === null;
  }

  everHad(sub: string, state: string): boolean {
    return this.#states.get(sub)?.has(state) ?? false;
  }

  /** The pool as it is. */
  truth(): CognitoUser[] {
    const live = [...this.#users.values()].filter(({ deletedAt }) => deletedAt === null);
    return live.flatMap(({ versions }) => versions.at(-1)?.user ?? []);
  }

  adminGetUser(username: string, random: Random): CognitoUser | null {
    const last = this.byUsername(username)?.versions.at(-1)?.user;
    return last === undefined ? null : reordered(last, random);
  }

  /** One page, as it looks now. @throws RangeError for a continuation that is refused */
  list(
    filter: string | null,
    token: string | null,
    now: number,
    random: Random,
  ): { users: CognitoUser[]; token: string | null } {
    const walk = filter === null || filter.includes('^=');
    if (walk && token !== null && this.refuseToken) {
      this.refuseToken = false;
      throw new RangeError('the continuation is refused');
    }
    const [after, empty] = token === null ? ['', walk ? this.emptyPages : 0] : [token.slice(1), 0];
    if (token === null && walk) this.emptyPages = 0;
    const left = token?.startsWith('!') ? Number(token.slice(1)) : empty;
    if (left > 0) return { users: [], token: `!${left - 1}` };
    const from = token?.startsWith('!') ? '' : after;
    const subs = [...this.#users.keys()].sort().filter((sub) => sub > from);
    const matching = subs.filter((sub) => matches(filter, this.#users.get(sub) as PoolUser));
    const page = matching.slice(0, PAGE_USERS);
    const users = page.flatMap((sub) => {
      const user = this.#seen(this.#users.get(sub) as PoolUser, now, random);
      return user === null ? [] : [reordered(user, random)];
    });
    const last = page.at(-1);
    return { users, token: last === undefined || matching.length <= PAGE_USERS ? null : `>${last}` };
  }

  #seen(user: PoolUser, now: number, random: Random): CognitoUser | null {
    if (this.lag.hidden.has(user.sub)) return null;
    // Half of all looks show how it is: only those make the other half hurt.
    const when = this.lag.ms === 0 || random.chance(2) ? now : now - random.below(this.lag.ms);
    if (user.deletedAt !== null && user.deletedAt <= when) return null;
    return user.versions.findLast(({ from }) => from <= when)?.user ?? null;
  }
}

function matches(filter: string | null, { sub, username }: PoolUser): boolean {
  if (filter === null) return true;
  const [, attribute, operator, value = ''] = /^(sub|username) (\^=|=) "(.*)"$/.exec(filter) ?? [];
  const actual = attribute === 'sub' ? sub : username;
  return operator === '=' ? actual === value : actual.startsWith(value);
}

/** Cognito promises no order of attributes. */
const reordered = (user: CognitoUser, random: Random): CognitoUser => ({
  ...user,
  Attributes: random.shuffled(user.Attributes ?? []),
});
