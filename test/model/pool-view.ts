/** The pool through one poller's requests: each stamped before it goes out (services/poller/pages.ts), without its budget and its patience. */

import { type ObservedPage, PoolFailure, type PoolReader, TokenRefused } from '../../services/poller/pages.ts';
import type { Walked } from '../../services/poller/seen.ts';
import type { CognitoUser } from '../../shared/user.ts';
import type { Observer, Shown } from './observer.ts';
import type { Process } from './scheduler.ts';
import type { World } from './world.ts';

export class PoolView {
  readonly #world: World;
  readonly #process: Process;
  readonly #observer: Observer;
  readonly #scan: string | null;
  /** What this view's walk has seen and not noted. */
  readonly #unnoted: Shown[] = [];

  constructor(world: World, owner: Process, observer: Observer, scan: string | null) {
    this.#world = world;
    this.#process = owner;
    this.#observer = observer;
    this.#scan = scan;
  }

  asReader(): PoolReader {
    return this as unknown as PoolReader;
  }

  /** The walk has noted these users. */
  readonly noted = (subs: readonly string[]): void => {
    if (this.#scan === null) return;
    const noted = new Set(subs);
    this.#observer.noted(
      this.#scan,
      this.#unnoted.filter(({ sub }) => noted.has(sub)),
    );
    this.#unnoted.splice(0, Infinity, ...this.#unnoted.filter(({ sub }) => !noted.has(sub)));
  };

  #clock(): Promise<number> {
    const { scheduler, redis } = this.#world;
    return scheduler.step(this.#process, 'clock', () => redis.observationTime());
  }

  async page(filter: string | null, token: string | null): Promise<ObservedPage> {
    const { scheduler, pool } = this.#world;
    const observedAt = await this.#clock();
    const page = await scheduler.step(this.#process, `ListUsers ${filter ?? ''} ${token ?? ''}`, () => {
      try {
        return pool.list(filter, token, scheduler.now, scheduler.random);
      } catch (error) {
        if (error instanceof RangeError) return null;
        throw error;
      }
    });
    if (page === null) {
      // The walk begins anew: what it has not noted it has not seen.
      this.#unnoted.length = 0;
      throw new TokenRefused('the page token was refused');
    }
    if (this.#scan !== null && pool.failing) {
      pool.failing = false;
      throw new PoolFailure('Cognito', { cause: new Error('away') });
    }
    this.#unnoted.push(...this.#observer.observed(page.users, observedAt));
    return { ...page, observedAt };
  }

  /** AdminGetUser. */
  async user(username: string): Promise<{ user: CognitoUser | null; observedAt: number }> {
    const { scheduler, pool } = this.#world;
    this.#observer.asked(this.#scan, username);
    const observedAt = await this.#clock();
    const user = await scheduler.step(this.#process, `AdminGetUser ${username}`, () =>
      pool.adminGetUser(username, scheduler.random),
    );
    return { user, observedAt };
  }
}

/** A walk that Cognito's patience ended. */
export function unanswered(error: unknown): Walked {
  if (!(error instanceof PoolFailure)) throw error;
  return { ended: false, pages: 0, users: 0, unshardable: 0, reason: error.message };
}
