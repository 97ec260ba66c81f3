/**
 * Which request fails, and how: the rules of Faults applied to one request after another.
 */
import type { Failure, Faults } from './faults.ts';
import type { Random } from './random.ts';

/** What rules can ask of a request. */
export interface RequestFacts {
  readonly operation: string;
  readonly pool: string | undefined;
  readonly filter: string | undefined;
  readonly token: boolean;
}

interface Count {
  passed: number;
  failed: number;
}

export class FailureRules {
  readonly #faults: Faults;
  readonly #random: Random;
  /** By identity: setting the rules anew starts the counts anew. */
  readonly #counts = new WeakMap<Failure, Count>();

  constructor(faults: Faults, random: Random) {
    this.#faults = faults;
    this.#random = random;
  }

  /** The rule that this request falls to, which is thereby counted. */
  next(facts: RequestFacts): Failure | undefined {
    return this.#faults.settings.failures.find((rule) => fits(rule, facts) && this.#bites(rule));
  }

  #bites(rule: Failure): boolean {
    const count = this.#counts.get(rule) ?? { passed: 0, failed: 0 };
    this.#counts.set(rule, count);
    if (rule.times !== null && count.failed >= rule.times) return false;
    if (count.passed < rule.skip) {
      count.passed++;
      return false;
    }
    if (!this.#random.chance(rule.rate)) return false;
    count.failed++;
    return true;
  }
}

function fits(rule: Failure, { operation, pool, filter, token }: RequestFacts): boolean {
  if (rule.operations !== undefined && !rule.operations.includes(operation)) return false;
  if (rule.pool !== undefined && rule.pool !== pool) return false;
  if (rule.filter !== undefined && (operation !== 'ListUsers' || !filterFits(rule.filter, filter))) return false;
  return rule.token === undefined || rule.token === token;
}

function filterFits(wanted: NonNullable<Failure['filter']>, filter = ''): boolean {
  switch (wanted) {
    case 'none':
      return filter === '';
    case 'any':
      return filter !== '';
    case 'exact':
      return /^[^"^]*("[\w:]+")?\s*=/.test(filter);
    case 'prefix':
      return /^[^^=]*\^=/.test(filter);
    case 'sub-prefix':
      return /^\s*"?sub"?\s*\^=/.test(filter);
  }
}
