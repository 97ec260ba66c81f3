/**
 * Request quotas: per category and, as in AWS, shared by all pools. A sliding second; refused requests do not count.
 * Source: https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html
 */
import type { Faults } from './faults.ts';

const CATEGORIES = { ListUsers: 'UserList', AdminGetUser: 'UserRead', DescribeUserPool: 'UserPoolRead' } as const;

const WINDOW_MS = 1000;

export class Quotas {
  readonly #faults: Faults;
  readonly #now: () => number;
  readonly #admitted = new Map<string, number[]>();

  constructor(faults: Faults, now: () => number) {
    this.#faults = faults;
    this.#now = now;
  }

  /** @returns whether the request is within its category's quota, and counts it if so */
  admits(operation: string): boolean {
    if (!(operation in CATEGORIES)) return true;
    const category = CATEGORIES[operation as keyof typeof CATEGORIES];
    const quota = this.#faults.settings.quotas[category];
    if (quota === null) return true;
    const now = this.#now();
    const recent = (this.#admitted.get(category) ?? []).filter((at) => now - at < WINDOW_MS);
    this.#admitted.set(category, recent);
    if (recent.length >= quota) return false;
    recent.push(now);
    return true;
  }
}
