/**
 * Requests to Cognito as the poller makes them: within the budget, stamped before they go out, tried again where that helps.
 */
import { backOffMs, sleep } from '../../shared/clock.ts';
import type { Page, UserPool } from '../../shared/cognito.ts';
import { classify } from '../../shared/errors.ts';
import type { CognitoUser } from '../../shared/user.ts';
import type { Budget, Purpose } from './budget.ts';

export interface PoolReaderOptions {
  readonly userPool: UserPool;
  readonly budget: Budget;
  /** The observation time, by Redis's clock. */
  readonly clock: () => Promise<number>;
  readonly signal: AbortSignal;
  /** How long a request is tried again while Cognito throttles, fails or says nothing. */
  readonly patienceMs: number;
  readonly onRetry: (error: unknown, attempt: number) => void;
  /** A request was answered: whatever stood in the way is over. */
  readonly onAnswer: () => void;
}

export interface ObservedPage extends Page {
  /** When its request began. */
  readonly observedAt: number;
}

const RETRY_FIRST_MS = 200;
const RETRY_MOST_MS = 20_000;
/** AdminGetUser has a quota of its own, 120 a second; proofs are few and need not use it up. */
const PROOF_SPACING_MS = 20;

/** What the next try would be told again: the scan ends, and the next one asks anew. */
const HOPELESS: ReadonlySet<string> = new Set(['aws-credentials', 'aws-denied', 'aws-invalid-request']);

/** The list's continuation was refused: it expired, or the pool no longer knows it. The chain begins anew. */
export class TokenRefused extends Error {
  override readonly name = 'TokenRefused';
}

/** Cognito refuses, or has failed for longer than patience lasts. The cause says how. */
export class PoolFailure extends Error {
  override readonly name = 'PoolFailure';
}

export class PoolReader {
  readonly #options: PoolReaderOptions;

  constructor(options: PoolReaderOptions) {
    this.#options = options;
  }

  /**
   * @throws TokenRefused; PoolFailure, when the error is none that passes or patience has ended
   */
  async page(filter: string | null, token: string | null, purpose: Purpose): Promise<ObservedPage> {
    const { userPool, budget, clock, signal } = this.#options;
    return await this.#patiently(async () => {
      await budget.take(purpose, signal);
      const observedAt = await clock();
      try {
        return { ...(await userPool.listUsers({ filter, token })), observedAt };
      } catch (error) {
        // An invalid parameter is all that AWS says; with a token sent, it is the token (API reference, ListUsers, PaginationToken).
        if (token !== null && classify(error).kind === 'aws-invalid-request')
          throw new TokenRefused('the page token was refused');
        throw error;
      }
    });
  }

  /** AdminGetUser. `observedAt`: when its request began. */
  async user(username: string): Promise<{ user: CognitoUser | null; observedAt: number }> {
    const { userPool, clock, signal } = this.#options;
    return await this.#patiently(async () => {
      await sleep(PROOF_SPACING_MS, signal);
      signal.throwIfAborted();
      const observedAt = await clock();
      return { user: await userPool.getUser(username), observedAt };
    });
  }

  async #patiently<T>(attempt: () => Promise<T>): Promise<T> {
    const { budget, signal, patienceMs, onRetry, onAnswer } = this.#options;
    const began = performance.now();
    for (let attempts = 0; ; attempts++) {
      try {
        const answer = await attempt();
        onAnswer();
        return answer;
      } catch (error) {
        if (signal.aborted || error instanceof TokenRefused) throw error;
        const { action, kind } = classify(error);
        if (action !== 'retry' || HOPELESS.has(kind) || performance.now() - began > patienceMs)
          throw new PoolFailure('Cognito', { cause: error });
        if (error instanceof Error && error.name === 'TooManyRequestsException') await budget.slow();
        onRetry(error, attempts);
        await sleep(backOffMs(attempts, RETRY_FIRST_MS, RETRY_MOST_MS), signal);
      }
    }
  }
}
