/** One server process: started with its output in a file, watched, killed, stopped and continued by its pid. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** A file, appended to: a pipe would block the server while this process is stopped, and break when it dies. */
  readonly log: string;
  /** As whom, where this process is root and the server refuses to be. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
}

export class Child {
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #log: string;

  private constructor(process: ChildProcess, log: string) {
    this.#process = process;
    this.#exited = once(process, 'exit');
    this.#exited.catch(() => {});
    this.#log = log;
  }

  /** @throws where the command could not be started at all */
  static async start(options: ChildOptions): Promise<Child> {
    const log = await open(options.log, 'a');
    try {
      const process = spawn(options.command, options.args, {
        cwd: options.cwd,
        env: options.env,
        // A session of its own, so that Ctrl-C in the terminal reaches us alone and we decide in which order things stop.
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        ...options.user,
      });
      const child = new Child(process, options.log);
      await once(process, 'spawn');
      process.unref();
      return child;
    } finally {
      await log.close();
    }
  }

  get pid(): number {
    if (this.#process.pid === undefined) throw new Error(`${this.#process.spawnfile} was never started`);
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  get exitCode(): number | null {
    return this.#process.exitCode;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#process.kill(signal);
  }

  /** Resolves when the process has ended. */
  async exit(): Promise<void> {
    if (!this.running) return;
    this.#process.ref();
    await this.#exited;
  }

  /**
   * Waits for a condition of the server while it lives.
   * @throws with the end of its log, when the process ends or `timeoutMs` pass first
   */
  async until(what: string, condition: () => Promise<boolean>, timeoutMs = 30_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!(await condition())) {
      const failed = !this.running ? 'ended' : performance.now() > deadline ? `was not ${what} in ${timeoutMs} ms` : '';
      if (failed !== '') throw new ServerError(`${this.#process.spawnfile} ${failed}`, await this.logTail());
      await sleep(10);
    }
  }

  async logTail(): Promise<string> {
    return (await readFile(this.#log, 'utf8').catch(() => '')).trimEnd().split('\n').slice(-15).join('\n');
  }
}

/** A server did not come up. */
export class ServerError extends Error {
  override readonly name = 'ServerError';
  /** The last lines that the server wrote. */
  readonly log: string;

  constructor(message: string, log: string) {
    super(`${message}:\n${log}`);
    this.log = log;
  }
}
