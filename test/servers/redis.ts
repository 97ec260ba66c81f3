/** A real Redis (or Valkey) in a temporary folder, for tests and the demo. It starts in 50 ms: each test file takes its own. */

import { connect } from 'node:net';
import { join } from 'node:path';
import { Child, ServerError } from './child.ts';
import { makeFolder, type ServerFolder } from './folder.ts';
import { freePort } from './free-port.ts';
import { findRedis } from './redis-binary.ts';

export interface RedisOptions {
  /** Writes an append-only file, synced each second, so that a restart finds most of what was there. Off unless told. */
  readonly appendOnly?: boolean;
  /** As Redis writes it: `64mb`. No limit unless told. */
  readonly maxmemory?: string;
  readonly password?: string;
  /** More of redis.conf, as `{"maxmemory-policy": "allkeys-lru"}`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Gets the line that announces an installation by apt; stderr unless told. */
  readonly say?: (line: string) => void;
}

/**
 * Starts a server on a free port of 127.0.0.1. Nothing of it is left after `stop`, nor after the death of this process.
 * @throws Error in one line where redis-server is missing
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const binary = await findRedis(options.say);
  const folder = await makeFolder('redis', 'KILL');
  const server = new RedisServer(binary, folder, options);
  try {
    await server.start();
    return server;
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

export class RedisServer {
  /** Stays the same over restarts. */
  port = 0;
  readonly #binary: string;
  readonly #folder: ServerFolder;
  readonly #options: RedisOptions;
  #child: Child | undefined;

  /** @see startRedis */
  constructor(binary: string, folder: ServerFolder, options: RedisOptions) {
    this.#binary = binary;
    this.#folder = folder;
    this.#options = options;
  }

  get url(): string {
    const { password } = this.#options;
    return `redis://${password === undefined ? '' : `:${encodeURIComponent(password)}@`}127.0.0.1:${this.port}`;
  }

  get running(): boolean {
    return this.#child?.running ?? false;
  }

  get pid(): number {
    if (this.#child === undefined) throw new Error('this Redis was never started');
    return this.#child.pid;
  }

  /** Where dump.rdb and appendonlydir are. */
  get folder(): string {
    return this.#folder.path;
  }

  /** Starts a server that is down, on the folder and port that it had: it has what it had saved. */
  async start(): Promise<void> {
    if (this.running) throw new Error('this Redis runs already');
    if (this.port !== 0) return this.#startOn(this.port);
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      try {
        await this.#startOn(port);
        this.port = port;
        return;
      } catch (error) {
        // Somebody else may have taken the port between the look and the start.
        if (attempt === 5 || !(error instanceof ServerError) || !/in use/i.test(error.log)) throw error;
      }
    }
  }

  async #startOn(port: number): Promise<void> {
    const { appendOnly = false, maxmemory, password, settings = {} } = this.#options;
    const all: Record<string, string> = {
      port: String(port),
      bind: '127.0.0.1',
      dir: this.#folder.path,
      save: '',
      appendonly: appendOnly ? 'yes' : 'no',
      appendfsync: 'everysec',
      'maxmemory-policy': 'noeviction',
      ...(maxmemory === undefined ? {} : { maxmemory }),
      ...(password === undefined ? {} : { requirepass: password }),
      ...settings,
    };
    const child = await Child.start({
      command: this.#binary,
      args: Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]),
      cwd: this.#folder.path,
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
      log: join(this.#folder.path, 'redis.log'),
    });
    this.#child = child;
    await this.#folder.setPid(child.pid);
    await child.until('ready', () => answers(port));
  }

  /** SIGTERM: saves what it is set to save. The folder stays. */
  async shutDown(): Promise<void> {
    if (this.#child === undefined || !this.running) return;
    this.resume();
    this.#child.signal('SIGTERM');
    await this.#child.exit();
  }

  /** kill -9. The folder stays. */
  async kill(): Promise<void> {
    this.#child?.signal('SIGKILL');
    await this.#child?.exit();
  }

  /** SIGSTOP: connections stay open and nobody answers. */
  pause(): void {
    this.#child?.signal('SIGSTOP');
  }

  resume(): void {
    this.#child?.signal('SIGCONT');
  }

  async restart(): Promise<void> {
    await this.shutDown();
    await this.start();
  }

  async logTail(): Promise<string> {
    return (await this.#child?.logTail()) ?? '';
  }

  /** Stops the server and removes everything of it. Can be called twice. */
  async stop(): Promise<void> {
    await this.kill();
    await this.#folder.remove();
  }
}

/** Whether it has loaded its data: it says +PONG, or that it wants a password first; before that it says -LOADING. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const settle = (ready: boolean) => {
      socket.destroy();
      resolve(ready);
    };
    socket.setTimeout(1_000, () => settle(false));
    socket.once('error', () => settle(false));
    socket.once('close', () => settle(false));
    socket.once('data', (data) => settle(/^(\+PONG|-NOAUTH)/.test(data.toString())));
    socket.write('PING\r\n');
  });
}
