/**
 * A process that is kept alive as Kubernetes keeps a container: when it ends it is started again, at once the first time, then after a back-off
 * that is forgotten once it has lived for a while. It dies with us, however we die.
 */
import { join } from 'node:path';
import { Child } from '../servers/child.ts';
import { makeFolder, type ServerFolder } from '../servers/folder.ts';

const CHECKOUT = new URL('../..', import.meta.url).pathname;
const BACK_OFF_MS = [200, 500, 1_000, 2_000];
const FORGOTTEN_MS = 5_000;

export interface SupervisedOptions {
  readonly name: string;
  /** The command line after `cognito-feed`. */
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** A folder for its log, which outlives it. */
  readonly logs: string;
}

export class Supervised {
  readonly name: string;
  readonly log: string;
  /** Ends that nobody asked for: a service never exits by itself. */
  readonly ownEnds: string[] = [];
  restarts = 0;
  paused = false;
  readonly #options: SupervisedOptions;
  readonly #folder: ServerFolder;
  #child: Child | undefined;
  #killed = false;
  #stopping = false;
  #bornAt = 0;
  #ends = 0;
  #loop: Promise<void> = Promise.resolve();

  private constructor(options: SupervisedOptions, folder: ServerFolder) {
    this.name = options.name;
    this.log = join(options.logs, `${options.name}.log`);
    this.#options = options;
    this.#folder = folder;
  }

  static async start(options: SupervisedOptions): Promise<Supervised> {
    const one = new Supervised(options, await makeFolder('chaos', 'KILL'));
    await one.#spawn();
    one.#loop = one.#watch();
    return one;
  }

  get running(): boolean {
    return this.#child?.running ?? false;
  }

  kill(): void {
    this.#killed = true;
    this.paused = false;
    this.#child?.signal('SIGKILL');
  }

  pause(): void {
    this.paused = true;
    this.#child?.signal('SIGSTOP');
  }

  resume(): void {
    this.paused = false;
    this.#child?.signal('SIGCONT');
  }

  /** SIGTERM. @returns the exit code; null where it had to be killed after all */
  async stop(graceMs: number): Promise<number | null> {
    this.#stopping = true;
    this.resume();
    this.#child?.signal('SIGTERM');
    const late = setTimeout(() => this.#child?.signal('SIGKILL'), graceMs);
    await this.#loop;
    clearTimeout(late);
    await this.#folder.remove();
    return this.#child?.exitCode ?? null;
  }

  async #spawn(): Promise<void> {
    const { args, env } = this.#options;
    this.#killed = false;
    this.#bornAt = performance.now();
    this.#child = await Child.start({
      command: process.execPath,
      args: ['--import', 'tsx', 'services/cli/main.ts', ...args],
      cwd: CHECKOUT,
      env,
      log: this.log,
    });
    await this.#folder.setPid(this.#child.pid);
  }

  async #watch(): Promise<void> {
    for (;;) {
      await this.#child?.exit();
      if (this.#stopping) return;
      if (!this.#killed) this.ownEnds.push(`${this.name} ended with ${this.#child?.exitCode}`);
      if (performance.now() - this.#bornAt > FORGOTTEN_MS) this.#ends = 0;
      const wait = BACK_OFF_MS[Math.min(this.#ends++, BACK_OFF_MS.length - 1)] ?? 0;
      await new Promise((resolve) => setTimeout(resolve, wait));
      if (this.#stopping) return;
      this.restarts++;
      await this.#spawn();
    }
  }
}
