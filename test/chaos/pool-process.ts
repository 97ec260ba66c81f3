/**
 * The pool of a chaos run, as a process of its own: an emulator, what changes its users, and the book of what they were.
 *
 * Which lies it may tell, so that every check of judge.ts stays legitimate:
 * - Late, missing and ghost users at any time: proof, tombstones and the next scan cope with each.
 * - Stale reads only of users whose every write moves UserLastModifiedDate (every other one of the first users, and whoever has their usernames
 *   after them). A stale read with an equal date can't be told from news (DESIGN, "Order", rule 4), so nobody else is ever shown stale, and only
 *   those others are disabled and enabled, which moves no date. A stale read lasts for seconds: rule 4 takes one for news after ten minutes.
 * - AdminGetUser never lies; it fails as all else does. What it says is the proof, in Cognito too.
 * - Failing requests, throttling, refused tokens, short and empty pages, attributes in any order: always.
 *
 * It is told what to do by its parent (`Order`), and ends with it.
 */
import { parseArgs } from 'node:util';
import { churn } from '../emulator/churn.ts';
import { Emulator } from '../emulator/emulator.ts';
import type { FaultPatch } from '../emulator/faults.ts';
import type { Pool } from '../emulator/pool.ts';
import { Random } from '../emulator/random.ts';
import { HistoryFile } from './history.ts';
import { stateOfRecord } from './state.ts';

export type Order =
  /** A change each so many milliseconds; null: the pool is quiet. */
  | { readonly order: 'churn'; readonly everyMs: number | null }
  /** `lying`: lag of every kind. `truthful`: lists show the pool as it is. `well`: nothing is wrong at all. */
  | { readonly order: 'lists'; readonly are: 'lying' | 'truthful' | 'well' };

export type Answer = { readonly endpoint: string } | { readonly done: Order['order']; readonly at: number };

/** Below what a deployment is told that it may use: requests are throttled now and then. */
const QUOTA = 70;
const TROUBLE: FaultPatch = {
  shortPages: 0.3,
  emptyPages: 0.1,
  shuffleAttributes: true,
  quotas: { UserList: QUOTA, UserRead: 100, UserPoolRead: 15 },
  latency: { ms: 3, jitterMs: 3 },
  failures: [
    { kind: 'error', error: 'InternalErrorException', rate: 0.02 },
    { kind: 'error', error: 'InvalidParameterException', operations: ['ListUsers'], token: true, rate: 0.004 },
    { kind: 'html', rate: 0.005 },
    { kind: 'drop-before', rate: 0.015 },
    { kind: 'drop-middle', rate: 0.015 },
    { kind: 'hang', rate: 0.0005 },
  ],
};
const TRUTH: FaultPatch = { missing: [], late: [], stale: [], ghosts: [] };

/** Those whose every write moves the date. */
const mayBeStale = (username: string): boolean => /^user\d*[13579]$/.test(username);

function lies(users: number): FaultPatch {
  const steady = Array.from({ length: users }, (_, i) => `user${i + 1}`).filter(mayBeStale);
  return {
    missing: [{ share: 0.03, rate: 0.5 }],
    // Longer than a dead replica's scan stands still: two scans see one lie.
    late: [{ share: 0.4, forMs: 10_000, rate: 0.6 }],
    stale: [{ users: steady, forMs: 15_000, rate: 0.5 }],
    ghosts: [{ share: 0.6, forMs: 15_000, rate: 0.5 }],
  };
}

class PoolProcess {
  readonly #emulator: Emulator;
  readonly #pool: Pool;
  readonly #users: number;
  readonly #history: HistoryFile;
  readonly #random: Random;
  readonly #steps: ReturnType<typeof churn>;
  #timer: NodeJS.Timeout | undefined;

  constructor(emulator: Emulator, users: number, seed: string, history: HistoryFile) {
    this.#emulator = emulator;
    this.#pool = emulator.pool();
    this.#users = users;
    this.#history = history;
    this.#random = new Random(`${seed}/switches`);
    this.#steps = churn(this.#pool, {
      seed,
      weights: { 'sign-up': 18, delete: 14, reuse: 8, update: 34, confirm: 10, disable: 0, enable: 0 },
    });
    this.#pool.fill(users);
    const at = Date.now();
    for (const json of this.#pool.records()) history.write({ at, ...bookOf(json) });
    emulator.faults.set(TROUBLE);
    history.write({ at, truthful: true });
  }

  carryOut(order: Order): void {
    if (order.order === 'churn') {
      clearInterval(this.#timer);
      if (order.everyMs !== null) this.#timer = setInterval(() => this.#change(), order.everyMs);
      return;
    }
    const { faults } = this.#emulator;
    // The book is ahead of every lie, and behind the last one.
    if (order.are === 'lying') this.#history.write({ at: Date.now(), truthful: false });
    if (order.are === 'well') faults.reset();
    else faults.set(order.are === 'lying' ? lies(this.#users) : TRUTH);
    if (order.are !== 'lying') this.#history.write({ at: Date.now(), truthful: true });
  }

  #change(): void {
    if (this.#random.chance(0.12)) {
      this.#switch();
      return;
    }
    const at = Date.now();
    const { before, after, kind } = this.#steps.next().value;
    if (before !== undefined && (kind === 'delete' || kind === 'reuse')) {
      const sub = before.Attributes?.find(({ Name }) => Name === 'sub')?.Value ?? '';
      this.#history.write({ at, sub, username: before.Username ?? '', state: null });
    }
    if (after?.Username !== undefined) this.#note(at, after.Username);
  }

  /** Disables or enables somebody whose date then stands still. */
  #switch(): void {
    const user = this.#pool.pick(this.#random);
    if (user?.Username === undefined || mayBeStale(user.Username)) return;
    const at = Date.now();
    if (user.Enabled === true) this.#pool.disable(user.Username);
    else this.#pool.enable(user.Username);
    this.#note(at, user.Username);
  }

  #note(at: number, username: string): void {
    const user = this.#pool.index.byUsername(username);
    if (user !== undefined) this.#history.write({ at, ...bookOf(user.json) });
  }
}

function bookOf(json: string): { sub: string; username: string; state: string } {
  const { sub, username, text } = stateOfRecord(json);
  return { sub, username, state: text };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { users: { type: 'string' }, seed: { type: 'string' }, history: { type: 'string' } },
  });
  const { users = '600', seed = '1', history = '' } = values;
  const emulator = await Emulator.start({ seed, pools: [{ seed }] });
  const pool = new PoolProcess(emulator, Number(users), seed, new HistoryFile(history));
  const answer = (what: Answer) => process.send?.(what);
  process.on('message', (order: Order) => {
    pool.carryOut(order);
    answer({ done: order.order, at: Date.now() });
  });
  process.on('disconnect', () => process.exit());
  answer({ endpoint: emulator.endpoint });
}

await main();
