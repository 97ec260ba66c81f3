/**
 * One emulated user pool: its users as they truly are, and every way to change them. What lists show of it is Lag's business.
 */
import type { CognitoUser } from '../../shared/user.ts';
import { CognitoError, invalidParameter, userNotFound } from './cognito-error.ts';
import type { Faults } from './faults.ts';
import { Lag } from './lag.ts';
import { ordinaryUsers } from './ordinary-users.ts';
import { type Attribute, cognitoUserOf, detailsOf, type PoolUser, serialise, type UserDetails } from './pool-user.ts';
import { Random } from './random.ts';
import { SubSource, type SubStyle } from './sub-source.ts';
import { UserIndex } from './user-index.ts';

export interface PoolOptions {
  /** Default `eu-west-1_EMULATED1`. */
  readonly id?: string | undefined;
  /** Default `regional`: what newer pools give. */
  readonly subs?: SubStyle | undefined;
  /** `sub`: a pool that signs in by e-mail, where the username is the sub. `own` (default): the caller names the user. */
  readonly usernames?: 'sub' | 'own' | undefined;
  /** Whether users are found by their e-mail too, which is then unique. Default false: the index costs 100 MB for a million users. */
  readonly emailAlias?: boolean | undefined;
  /** Whether disabling and enabling move UserLastModifiedDate. Undocumented; default false. */
  readonly disableMovesDate?: boolean | undefined;
  readonly seed?: number | string | undefined;
}

/** A user to create. Whatever is left out is made up; times are milliseconds since the epoch. */
export interface NewUser {
  readonly username?: string | undefined;
  /** A `sub` among them is the user's sub, at that place; else one is made up and comes first. */
  readonly attributes?: readonly Attribute[] | undefined;
  /** Default CONFIRMED. */
  readonly status?: string | undefined;
  readonly enabled?: boolean | undefined;
  readonly createdAt?: number | undefined;
  readonly modifiedAt?: number | undefined;
}

export class Pool {
  readonly id: string;
  /** For SignUp and ConfirmSignUp. */
  readonly clientId: string;
  readonly usernames: 'sub' | 'own';
  readonly emailAlias: boolean;
  /** What lists read: not the truth, but what Lag makes of it. */
  readonly index: UserIndex;
  readonly lag: Lag;
  readonly createdAt: number;
  readonly #disableMovesDate: boolean;
  readonly #now: () => number;
  readonly #subs: SubSource;
  readonly #places: Random;
  readonly #seed: number | string;
  #filled = 0;
  /** A username is only ever used again by a later user. */
  #lastCreationDeleted = 0;

  constructor(options: PoolOptions, faults: Faults, now: () => number, seed: number | string) {
    this.id = options.id ?? 'eu-west-1_EMULATED1';
    this.clientId = this.id.replace(/[^A-Za-z0-9]/g, '').toLowerCase();
    this.usernames = options.usernames ?? 'own';
    this.emailAlias = options.emailAlias ?? false;
    const ownSeed = options.seed ?? `${seed}/${this.id}`;
    this.index = new UserIndex(this.emailAlias);
    this.lag = new Lag(faults, now, ownSeed);
    this.createdAt = now();
    this.#disableMovesDate = options.disableMovesDate ?? false;
    this.#now = now;
    this.#subs = new SubSource(options.subs ?? 'regional', this.id.split('_', 1)[0] ?? '', ownSeed);
    this.#places = new Random(`${ownSeed}/places`);
    this.#seed = ownSeed;
  }

  /** How many users there truly are. */
  get size(): number {
    return this.index.size;
  }

  /** The true, current record. */
  get(username: string): CognitoUser | undefined {
    const user = this.index.byUsername(username);
    return user && cognitoUserOf(user.json);
  }

  /** All true, current records, in no particular order. The pool may change meanwhile. */
  *users(): Generator<CognitoUser> {
    for (const json of this.records()) yield cognitoUserOf(json);
  }

  /** The same as JSON, as ListUsers spells it. */
  *records(): Generator<string> {
    for (const user of this.index.all) if (this.index.bySub(user.sub) === user) yield user.json;
  }

  /** Some true user's record, of that status where one is given; undefined where there is none. */
  pick(random: Random, status?: string): CognitoUser | undefined {
    const filter = { attribute: 'cognito:user_status', prefix: false, value: status ?? '' } as const;
    const { list } = this.index.listFor(status === undefined ? undefined : filter);
    for (let tries = 0; tries < 100; tries++) {
      const user = list.near(random.uint53());
      if (user === undefined) return undefined;
      if (this.index.bySub(user.sub) === user) return cognitoUserOf(user.json);
    }
    return undefined; // ghosts everywhere
  }

  /** @throws CognitoError UsernameExistsException, AliasExistsException */
  create(user: NewUser = {}): CognitoUser {
    const made = this.#make(user);
    if (this.index.byUsername(made.username) !== undefined) {
      throw new CognitoError('UsernameExistsException', 'User account already exists');
    }
    if (this.index.bySub(made.sub) !== undefined) throw invalidParameter('a sub is never given twice');
    this.#refuseTakenEmail(made.json, undefined);
    this.index.add(made);
    this.lag.created(made);
    return cognitoUserOf(made.json);
  }

  /** Many at once: all or, where a username or sub is taken, none. Lag does not apply. @throws RangeError */
  load(users: Iterable<NewUser>): void {
    const made: PoolUser[] = [];
    for (const user of users) made.push(this.#make(user));
    this.index.addAll(made);
  }

  /** Adds `count` ordinary users: a million in a few seconds. @see ordinaryUsers */
  fill(count: number): void {
    // Made in the order of their places, neighbours of a page are neighbours in memory: a third off a page's cost.
    const places = Float64Array.from({ length: count }, () => this.#places.uint53()).sort();
    const users = ordinaryUsers(count, this.#filled + 1, this.#seed, this.#now());
    this.index.addAll(Array.from(users, (user, i) => this.#make(user, places[i])));
    this.#filled += count;
  }

  /** Sets attributes; a null value is an attribute without a Value. Moves the date. @throws CognitoError UserNotFoundException, AliasExistsException */
  update(username: string, attributes: Readonly<Record<string, string | null>>): CognitoUser {
    if ('sub' in attributes) throw invalidParameter('user.sub: Attribute cannot be updated.');
    return this.#write(username, (details) => {
      const rest = new Map(Object.entries(attributes));
      const kept = details.attributes.map(([name, value]): Attribute => {
        const changed = rest.get(name);
        return rest.delete(name) ? [name, changed ?? null] : [name, value];
      });
      return { attributes: [...kept, ...rest] };
    });
  }

  /** @throws CognitoError UserNotFoundException */
  removeAttributes(username: string, names: readonly string[]): CognitoUser {
    if (names.includes('sub')) throw invalidParameter('user.sub: Attribute cannot be deleted.');
    return this.#write(username, ({ attributes }) => ({
      attributes: attributes.filter(([name]) => !names.includes(name)),
    }));
  }

  /** @throws CognitoError UserNotFoundException */
  setStatus(username: string, status: string): CognitoUser {
    return this.#write(username, () => ({ status }));
  }

  /** @throws CognitoError UserNotFoundException */
  disable(username: string): CognitoUser {
    return this.#write(username, () => ({ enabled: false }), this.#disableMovesDate);
  }

  /** @throws CognitoError UserNotFoundException */
  enable(username: string): CognitoUser {
    return this.#write(username, () => ({ enabled: true }), this.#disableMovesDate);
  }

  /** @returns the record as it last was. @throws CognitoError UserNotFoundException */
  delete(username: string): CognitoUser {
    const user = this.#find(username);
    this.index.forget(user);
    if (!this.lag.deleted(user)) this.index.unlist(user);
    this.#lastCreationDeleted = Math.max(this.#lastCreationDeleted, detailsOf(user.json).createdAt);
    return cognitoUserOf(user.json);
  }

  /** Deletes a user and gives its username to a new one, with another sub and a later creation. @throws CognitoError UserNotFoundException */
  reuse(username: string, user: Omit<NewUser, 'username'> = {}): CognitoUser {
    if (this.usernames === 'sub') throw invalidParameter('where usernames are subs none is used twice');
    this.delete(username);
    return this.create({ ...user, username });
  }

  /** Takes ghosts whose time is over out of the lists. */
  layGhosts(): void {
    for (const ghost of this.lag.laidGhosts()) this.index.unlist(ghost);
  }

  #find(username: string): PoolUser {
    const user = this.index.byUsername(username);
    if (user === undefined) throw userNotFound();
    return user;
  }

  #make(user: NewUser, place = this.#places.uint53()): PoolUser {
    const attributes = user.attributes ?? [];
    const sub = attributes.find(([name]) => name === 'sub')?.[1] ?? this.#subs.next();
    const username = this.usernames === 'sub' ? sub : (user.username ?? sub);
    const createdAt = user.createdAt ?? Math.max(this.#now(), this.#lastCreationDeleted + 1);
    const status = user.status ?? 'CONFIRMED';
    const enabled = user.enabled ?? true;
    const json = serialise({
      username,
      attributes: attributes.some(([name]) => name === 'sub') ? attributes : [['sub', sub], ...attributes],
      createdAt,
      modifiedAt: user.modifiedAt ?? createdAt,
      enabled,
      status,
    });
    return { place, sub, username, status, enabled, json };
  }

  #write(username: string, change: (details: UserDetails) => Partial<UserDetails>, movesDate = true): CognitoUser {
    const user = this.#find(username);
    const before = user.json;
    const details = detailsOf(before);
    const modifiedAt = movesDate ? Math.max(this.#now(), details.modifiedAt) : details.modifiedAt;
    const after: UserDetails = { ...details, modifiedAt, ...change(details) };
    const json = serialise(after);
    this.#refuseTakenEmail(json, user);
    this.index.change(user, () => {
      user.json = json;
      user.status = after.status;
      user.enabled = after.enabled;
    });
    this.lag.written(user, before);
    return cognitoUserOf(json);
  }

  #refuseTakenEmail(json: string, owner: PoolUser | undefined): void {
    if (!this.emailAlias) return;
    const email = detailsOf(json).attributes.find(([name]) => name === 'email')?.[1];
    const other = email && this.index.byEmail(email);
    if (other && other !== owner) {
      throw new CognitoError('AliasExistsException', 'An account with the given email already exists.');
    }
  }
}
