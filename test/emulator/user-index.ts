/**
 * How an emulated pool finds its users: by sub, by username, by e-mail where that is an alias, and in lists, one for each filter
 * that a scan uses, so that a page costs the same in a pool of a hundred and of a million.
 */
import type { Filter } from './filter.ts';
import { OrderedUsers } from './ordered-users.ts';
import { detailsOf, type PoolUser } from './pool-user.ts';

export class UserIndex {
  readonly all = new OrderedUsers();
  readonly #bySub = new Map<string, PoolUser>();
  /** Only whose username is not the sub: a million equal entries would cost 60 MB. */
  readonly #byUsername = new Map<string, PoolUser>();
  readonly #byEmail: Map<string, PoolUser> | undefined;
  readonly #lanes = new Map<string, OrderedUsers>();
  static readonly #NOBODY = new OrderedUsers();

  /** @param emailAlias whether users are found by e-mail */
  constructor(emailAlias: boolean) {
    this.#byEmail = emailAlias ? new Map() : undefined;
  }

  get size(): number {
    return this.#bySub.size;
  }

  bySub(sub: string): PoolUser | undefined {
    return this.#bySub.get(sub);
  }

  byUsername(username: string): PoolUser | undefined {
    const found = this.#byUsername.get(username) ?? this.#bySub.get(username);
    return found?.username === username ? found : undefined;
  }

  byEmail(email: string): PoolUser | undefined {
    return this.#byEmail?.get(email);
  }

  add(user: PoolUser): void {
    this.#learn(user);
    this.all.add(user);
    for (const lane of lanesOf(user)) this.#lane(lane).add(user);
  }

  /** All of them or, where a username or sub is taken, none. @throws RangeError */
  addAll(users: readonly PoolUser[]): void {
    const byLane = new Map<string, PoolUser[]>();
    const inOrder = [...users].sort((a, b) => a.place - b.place); // once, and not again for each list
    for (const [i, user] of users.entries()) {
      if (this.#bySub.has(user.sub) || this.byUsername(user.username) !== undefined) {
        for (const learnt of users.slice(0, i)) this.forget(learnt);
        throw new RangeError(`user ${i + 1} of ${users.length} has a username or sub that is taken`);
      }
      this.#learn(user);
    }
    for (const user of inOrder) {
      for (const lane of lanesOf(user)) {
        const list = byLane.get(lane);
        if (list === undefined) byLane.set(lane, [user]);
        else list.push(user);
      }
    }
    this.all.addAll(inOrder);
    for (const [lane, list] of byLane) this.#lane(lane).addAll(list);
  }

  /** The user can't be found by name any more, but is still listed. */
  forget(user: PoolUser): void {
    this.#bySub.delete(user.sub);
    if (this.#byUsername.get(user.username) === user) this.#byUsername.delete(user.username);
    this.#forgetEmail(user);
  }

  unlist(user: PoolUser): void {
    this.all.remove(user);
    for (const lane of lanesOf(user)) this.#lanes.get(lane)?.remove(user);
  }

  /** Makes a change to a user and moves it to the lists where it then belongs. */
  change(user: PoolUser, write: () => void): void {
    const before = lanesOf(user);
    this.#forgetEmail(user);
    write();
    const after = lanesOf(user);
    for (const lane of before) if (!after.includes(lane)) this.#lanes.get(lane)?.remove(user);
    for (const lane of after) if (!before.includes(lane)) this.#lane(lane).add(user);
    this.#learnEmail(user);
  }

  /** The shortest list that holds everybody whom the filter matches; those in it may still have to be matched. */
  listFor(filter: Filter | undefined): { readonly list: OrderedUsers; readonly exact: boolean } {
    if (filter === undefined) return { list: this.all, exact: true };
    const { attribute, prefix, value } = filter;
    if (attribute === 'sub' && value !== '') {
      return { list: this.#lanes.get(subLane(value)) ?? UserIndex.#NOBODY, exact: prefix && value.length === 1 };
    }
    if (attribute === 'cognito:user_status' && !prefix) {
      return { list: this.#lanes.get(statusLane(value)) ?? UserIndex.#NOBODY, exact: true };
    }
    if (attribute === 'status' && !prefix) {
      return { list: this.#lanes.get(enabledLane(value === 'Enabled')) ?? UserIndex.#NOBODY, exact: true };
    }
    return { list: this.all, exact: false };
  }

  #lane(name: string): OrderedUsers {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new OrderedUsers();
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  #learn(user: PoolUser): void {
    this.#bySub.set(user.sub, user);
    if (user.username !== user.sub) this.#byUsername.set(user.username, user);
    this.#learnEmail(user);
  }

  #learnEmail(user: PoolUser): void {
    const email = this.#emailOf(user);
    if (email !== undefined) this.#byEmail?.set(email, user);
  }

  #forgetEmail(user: PoolUser): void {
    const email = this.#emailOf(user);
    if (email !== undefined && this.#byEmail?.get(email) === user) this.#byEmail.delete(email);
  }

  #emailOf(user: PoolUser): string | undefined {
    if (this.#byEmail === undefined) return undefined;
    return detailsOf(user.json).attributes.find(([name]) => name === 'email')?.[1] ?? undefined;
  }
}

const subLane = (sub: string): string => `sub ${sub.charAt(0)}`;
const statusLane = (status: string): string => `status ${status}`;
const enabledLane = (enabled: boolean): string => (enabled ? 'enabled' : 'disabled');
const lanesOf = (user: PoolUser): string[] => [subLane(user.sub), statusLane(user.status), enabledLane(user.enabled)];
