/** The pool's process as the run sees it. @see pool-process.ts */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import type { Answer, Order } from './pool-process.ts';
import { type State, stateOfRecord } from './state.ts';

const FILE = new URL('pool-process.ts', import.meta.url).pathname;

export class PoolChild {
  readonly endpoint: string;
  readonly history: string;
  readonly #process: ChildProcess;
  #orders: Promise<unknown> = Promise.resolve();

  private constructor(process: ChildProcess, endpoint: string, history: string) {
    this.#process = process;
    this.endpoint = endpoint;
    this.history = history;
  }

  static async start(users: number, seed: string, logs: string): Promise<PoolChild> {
    const history = join(logs, 'pool.ndjson');
    const log = openSync(join(logs, 'pool.log'), 'a');
    const args = ['--import', 'tsx', FILE, `--users=${users}`, `--seed=${seed}`, `--history=${history}`];
    // The channel is its lifeline: when we die it is cut, and the process ends.
    const child = spawn(process.execPath, args, { stdio: ['ignore', log, log, 'ipc'], detached: true });
    const [answer] = (await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => {
        throw new Error(`the pool's process ended: see ${logs}/pool.log`);
      }),
    ])) as [Answer];
    if (!('endpoint' in answer)) throw new Error('the pool answered out of turn');
    return new PoolChild(child, answer.endpoint, history);
  }

  /** @returns when it was carried out, milliseconds since the epoch */
  async order(order: Order): Promise<number> {
    const mine = this.#orders.then(async () => {
      const answered = once(this.#process, 'message');
      this.#process.send(order);
      const [answer] = (await answered) as [Answer];
      return 'at' in answer ? answer.at : Date.now();
    });
    this.#orders = mine.catch(() => undefined);
    return await mine;
  }

  /** The users as they truly are now. */
  async users(): Promise<State[]> {
    const response = await fetch(`${this.endpoint}/__control/users`);
    const text = await response.text();
    return text.split('\n').flatMap((line) => (line === '' ? [] : [stateOfRecord(line)]));
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }
}
