/** cognito-feed as a process of its own, from this checkout: by node itself, or through `npm run` as a user types it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { Env } from '../shared/settings-source.ts';
import { until } from './until.ts';

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url));

export interface FeedProcessOptions {
  readonly through?: 'node' | 'npm';
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Killed with its whole group when the test has finished. */
export function spawnFeed(
  args: readonly string[],
  env: Env,
  { through = 'node' }: FeedProcessOptions = {},
): FeedProcess {
  const [command, given] =
    through === 'node'
      ? [process.execPath, ['--import', 'tsx', 'services/cli/main.ts', ...args]]
      : ['npm', ['run', '--silent', 'cognito-feed', '--', ...args]];
  const child = spawn(command, given, {
    cwd: CHECKOUT,
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      AWS_ACCESS_KEY_ID: 'emulated',
      AWS_SECRET_ACCESS_KEY: 'emulated',
      ...env,
    },
    // A group of its own, as a shell's job control makes it.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const feed = new FeedProcess(child);
  onTestFinished(async () => {
    feed.signalGroup('SIGKILL');
    await feed.ended;
  });
  return feed;
}

export class FeedProcess {
  stdout = '';
  stderr = '';
  /** With its output read to the end. */
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
  }

  /** To the process that was started: npm, where it is npm's. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** To it and all its children, as Ctrl-C in a terminal does. */
  signalGroup(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** Its end after a signal, and how long that took in milliseconds. */
  async endAfter(send: () => void): Promise<Ended & { readonly ms: number }> {
    const sent = performance.now();
    send();
    return { ...(await this.ended), ms: performance.now() - sent };
  }

  /** @throws with all it wrote, where it ends first */
  async until<T>(what: string, look: () => Promise<T | undefined | false> | T | undefined | false): Promise<T> {
    let end: Ended | undefined;
    this.ended.then(
      (how) => {
        end = how;
      },
      () => undefined,
    );
    return await until(
      what,
      async () => {
        const found = await look();
        if ((found === undefined || found === false) && end !== undefined)
          throw new Error(`it ended (${JSON.stringify(end)}) before ${what}:\n${this.stdout}${this.stderr}`);
        return found;
      },
      () => `${this.stdout}${this.stderr}`.slice(-3_000),
    );
  }
}

/** GET of the service's own HTTP server; null while nobody listens. */
export async function get(port: number, path: string): Promise<{ status: number; body: string } | null> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(5_000) });
    return { status: answer.status, body: await answer.text() };
  } catch {
    return null;
  }
}

/** Time is what some rules are about; there is no condition to wait for. */
export const elapsed = (ms: number): Promise<void> => sleep(ms);
