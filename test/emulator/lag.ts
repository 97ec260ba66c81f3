/**
 * Eventual consistency of one pool's lists: who is missing, late, stale or a ghost, by the rules in Faults.
 */
import type { Faults, LagRule } from './faults.ts';
import type { PoolUser } from './pool-user.ts';
import { portion, Random } from './random.ts';

/** `exact`: a filter `=` on sub or username. `scan`: every other list. */
export type Look = 'scan' | 'exact';

type Kind = 'missing' | 'late' | 'stale' | 'ghosts';

interface Lagging {
  readonly rule: LagRule;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

export class Lag {
  readonly #faults: Faults;
  readonly #now: () => number;
  readonly #seed: number | string;
  readonly #random: Random;
  readonly #late = new Map<PoolUser, Lagging>();
  readonly #stale = new Map<PoolUser, Lagging & { readonly json: string }>();
  readonly #ghosts = new Map<PoolUser, Lagging>();
  readonly #names = new WeakMap<LagRule, ReadonlySet<string>>();

  constructor(faults: Faults, now: () => number, seed: number | string) {
    this.#faults = faults;
    this.#now = now;
    this.#seed = seed;
    this.#random = new Random(`${seed}/lag`);
  }

  /** Whether every look sees the truth: then a page need not ask user by user. */
  get quiet(): boolean {
    const lagging = this.#late.size + this.#stale.size + this.#ghosts.size;
    return lagging === 0 && this.#faults.settings.missing.length === 0;
  }

  created(user: PoolUser): void {
    const lagging = this.#begin('late', user);
    if (lagging !== undefined) this.#late.set(user, lagging);
  }

  /** @param before the user's JSON before this write; a user that is stale already stays at its older version */
  written(user: PoolUser, before: string): void {
    const known = this.#stale.get(user);
    if (known !== undefined && !this.#isOver('stale', known)) return;
    const lagging = this.#begin('stale', user);
    if (lagging === undefined) this.#stale.delete(user);
    else this.#stale.set(user, { ...lagging, json: before });
  }

  /** @returns whether the user stays listed, as a ghost */
  deleted(user: PoolUser): boolean {
    this.#late.delete(user);
    const lagging = this.#begin('ghosts', user);
    if (lagging === undefined) this.#stale.delete(user);
    else this.#ghosts.set(user, lagging);
    return lagging !== undefined;
  }

  ghosts(): Iterable<PoolUser> {
    return this.#ghosts.keys();
  }

  /** Forgets the ghosts whose time is over. @returns them, for the lists to drop */
  laidGhosts(): PoolUser[] {
    const over: PoolUser[] = [];
    for (const [ghost, lagging] of this.#ghosts) if (this.#isOver('ghosts', lagging)) over.push(ghost);
    for (const ghost of over) {
      this.#ghosts.delete(ghost);
      this.#stale.delete(ghost);
    }
    return over;
  }

  /** The JSON that this look sees of a user, or undefined where it sees none. */
  shown(user: PoolUser, look: Look): string | undefined {
    for (const rule of this.#faults.settings.missing) {
      if (this.#isAbout('missing', rule, user) && this.#deceives(rule, look)) return undefined;
    }
    const late = this.#late.get(user);
    if (late !== undefined) {
      if (this.#isOver('late', late)) this.#late.delete(user);
      else if (this.#deceives(late.rule, look)) return undefined;
    }
    const ghost = this.#ghosts.get(user);
    if (ghost !== undefined && !this.#deceives(ghost.rule, look)) return undefined;
    const stale = this.#stale.get(user);
    if (stale !== undefined) {
      if (this.#isOver('stale', stale)) this.#stale.delete(user);
      else if (this.#deceives(stale.rule, look)) return stale.json;
    }
    return user.json;
  }

  #begin(kind: Exclude<Kind, 'missing'>, user: PoolUser): Lagging | undefined {
    const rule = this.#faults.settings[kind].find((candidate) => this.#isAbout(kind, candidate, user));
    if (rule === undefined) return undefined;
    return { rule, until: rule.forMs === null ? Number.POSITIVE_INFINITY : this.#now() + rule.forMs };
  }

  /** A rule that was removed ends what it began. */
  #isOver(kind: Kind, { rule, until }: Lagging): boolean {
    return until <= this.#now() || !this.#faults.settings[kind].includes(rule);
  }

  #isAbout(kind: Kind, rule: LagRule, user: PoolUser): boolean {
    if (rule.users === undefined && rule.share === undefined) return true;
    if (rule.users !== undefined) {
      let names = this.#names.get(rule);
      if (names === undefined) {
        names = new Set(rule.users);
        this.#names.set(rule, names);
      }
      if (names.has(user.username) || names.has(user.sub)) return true;
    }
    return rule.share !== undefined && portion(`${this.#seed}/${kind}`, user.sub) < rule.share;
  }

  #deceives(rule: LagRule, look: Look): boolean {
    return (rule.from === 'both' || rule.from === look) && this.#random.chance(rule.rate);
  }
}
