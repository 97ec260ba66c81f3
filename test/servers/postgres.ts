/** A real Postgres in a temporary folder, for tests and the demo: started, killed, stopped, restarted, copied. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chown, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, ServerError } from './child.ts';
import { makeFolder, type ServerFolder } from './folder.ts';
import { freePort } from './free-port.ts';
import { type Binaries, findBinaries, type Major, type ServerUser, serverUser } from './postgres-binaries.ts';
import { processesOf, signalAll } from './postgres-processes.ts';
import { clusterLocale, environment, settingsFor } from './postgres-settings.ts';

export type { Major } from './postgres-binaries.ts';
export { MAJORS } from './postgres-binaries.ts';

export interface PostgresOptions {
  /** 18 unless told. */
  readonly major?: Major;
  /** More of postgresql.conf, over what stands in `settingsFor`. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Begins as this copy of a data folder (`backup` of a server of the same major) instead of a new cluster. */
  readonly from?: Backup;
}

/** What `backup` gives: a folder that lives as long as the server it came from, and the password that is in it. */
export interface Backup {
  readonly path: string;
  readonly password: string;
}

const SUPERUSER = 'postgres';

/**
 * Starts a server on a free port of 127.0.0.1; about 1 s for a new cluster. Nothing of it is left after `stop`, nor after the
 * death of this process, however it dies.
 * @throws Error in one line where a program is missing, ServerError with the log's end where the server did not come up
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const major = options.major ?? 18;
  const folder = await makeFolder(`postgres${major}`, 'QUIT');
  try {
    const user = serverUser();
    if (user !== undefined) await chown(folder.path, user.uid, user.gid);
    const binaries = await findBinaries(major, user, folder.path);
    const password = options.from?.password ?? randomBytes(12).toString('hex');
    const server = new PostgresServer(major, folder, binaries, user, password, options.settings ?? {});
    if (options.from === undefined) await server.initialise();
    else await server.restore(options.from);
    await server.start();
    return server;
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

export class PostgresServer {
  readonly major: Major;
  /** Stays the same over restarts. */
  port = 0;
  readonly password: string;
  readonly #folder: ServerFolder;
  readonly #binaries: Binaries;
  readonly #user: ServerUser | undefined;
  readonly #settings: Readonly<Record<string, string | number>>;
  #child: Child | undefined;
  #backups = 0;

  /** @see startPostgres */
  constructor(
    major: Major,
    folder: ServerFolder,
    binaries: Binaries,
    user: ServerUser | undefined,
    password: string,
    settings: Readonly<Record<string, string | number>>,
  ) {
    this.major = major;
    this.#folder = folder;
    this.#binaries = binaries;
    this.#user = user;
    this.password = password;
    this.#settings = settings;
  }

  /** The superuser's URL. */
  url(database = 'postgres'): string {
    return `postgres://${SUPERUSER}:${this.password}@127.0.0.1:${this.port}/${database}`;
  }

  get dataFolder(): string {
    return join(this.#folder.path, 'data');
  }

  get running(): boolean {
    return this.#child?.running ?? false;
  }

  /** The postmaster's. */
  get pid(): number {
    if (this.#child === undefined) throw new Error('this Postgres was never started');
    return this.#child.pid;
  }

  /** Everything that runs here, postmaster first; empty when nothing does. Only the postmaster where there is no /proc. */
  pids(): number[] {
    return processesOf(this.#folder.tag, this.running ? this.pid : undefined);
  }

  async initialise(): Promise<void> {
    const passwordFile = join(this.#folder.path, 'password');
    await writeFile(passwordFile, this.password, { mode: 0o600 });
    if (this.#user !== undefined) await chown(passwordFile, this.#user.uid, this.#user.gid);
    const initdb = await Child.start({
      command: this.#binaries.initdb,
      args: [
        `--pgdata=${this.dataFolder}`,
        `--username=${SUPERUSER}`,
        `--pwfile=${passwordFile}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        `--locale=${clusterLocale()}`,
        '--no-sync',
      ],
      cwd: this.#folder.path,
      env: environment(),
      log: join(this.#folder.path, 'initdb.log'),
      user: this.#user,
    });
    await this.#folder.setPid(initdb.pid);
    await initdb.exit();
    if (initdb.exitCode !== 0) throw new ServerError('initdb failed', await initdb.logTail());
    await rm(passwordFile);
  }

  /** Starts a server that is down, on the data folder and port that it had. */
  async start(): Promise<void> {
    if (this.running) throw new Error('this Postgres runs already');
    if (this.port !== 0) return this.#startOn(this.port);
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      try {
        await this.#startOn(port);
        this.port = port;
        return;
      } catch (error) {
        // Somebody else may have taken the port between the look and the start.
        if (attempt === 5 || !(error instanceof ServerError) || !error.log.includes('could not bind')) throw error;
      }
    }
  }

  async #startOn(port: number): Promise<void> {
    const settings = { ...settingsFor(this.#folder.path, this.#folder.tag, port), ...this.#settings };
    const child = await Child.start({
      command: this.#binaries.postgres,
      args: ['-D', this.dataFolder, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      cwd: this.#folder.path,
      env: environment(),
      log: join(this.#folder.path, 'postgres.log'),
      user: this.#user,
    });
    this.#child = child;
    await this.#folder.setPid(child.pid);
    const lockFile = join(this.dataFolder, 'postmaster.pid');
    await child.until('ready', async () => {
      const lines = (await readFile(lockFile, 'utf8').catch(() => '')).split('\n');
      // The eighth line is the state (what pg_ctl waits for); the first says that the file is not a killed server's.
      return Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready';
    });
  }

  /** Shuts the server down and keeps its folder. `immediate` is a crash that Postgres knows of. */
  async shutDown(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    if (this.#child === undefined || !this.running) return;
    this.resume();
    this.#child.signal(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await this.#child.exit();
  }

  /** kill -9 of the postmaster and of every backend; resolves when none is left. The folder stays. */
  async kill(): Promise<void> {
    this.#child?.signal('SIGKILL');
    await this.#child?.exit();
    for (let pids = this.pids(); pids.length > 0; pids = this.pids()) {
      signalAll(pids, 'SIGKILL');
      await sleep(5);
    }
  }

  /** SIGSTOP of every process: connections stay open and nobody answers. */
  pause(): void {
    // The postmaster first: then no new backend can appear behind our back.
    if (this.running) signalAll([this.pid], 'SIGSTOP');
    signalAll(this.pids(), 'SIGSTOP');
  }

  resume(): void {
    signalAll(this.pids().reverse(), 'SIGCONT');
  }

  /** `start` after a shutdown if it still runs. */
  async restart(): Promise<void> {
    await this.shutDown();
    await this.start();
  }

  /** A copy of the data folder of a server that is down; to be given to `restore`, or to another server's `from`. */
  async backup(): Promise<Backup> {
    if (this.pids().length > 0) throw new Error('shut the server down before you copy its data folder');
    this.#backups += 1;
    const path = join(this.#folder.path, `backup-${this.#backups}`);
    await this.#copy(this.dataFolder, path);
    return { path, password: this.password };
  }

  /** Replaces the data folder of a server that is down: it has gone back in time. */
  async restore(backup: Backup): Promise<void> {
    if (this.pids().length > 0) throw new Error('shut the server down before you replace its data folder');
    await rm(this.dataFolder, { recursive: true, force: true });
    await this.#copy(backup.path, this.dataFolder);
    // A copy made after kill -9 has the dead server's lock file, whose pid may by now be somebody else's.
    await rm(join(this.dataFolder, 'postmaster.pid'), { force: true });
  }

  /** With owners and modes, which Postgres insists on. */
  async #copy(from: string, to: string): Promise<void> {
    const copying = spawn('cp', ['-Rp', from, to], { stdio: ['ignore', 'ignore', 'inherit'] });
    const [code] = await once(copying, 'exit');
    if (code !== 0) throw new Error(`cp -Rp ${from} ${to} failed`);
  }

  /** The end of what the server logged. */
  async logTail(): Promise<string> {
    return (await this.#child?.logTail()) ?? '';
  }

  /** The whole log, every start's. */
  async log(): Promise<string> {
    return readFile(join(this.#folder.path, 'postgres.log'), 'utf8');
  }

  /** Stops the server and removes everything of it, backups too. Can be called twice. */
  async stop(): Promise<void> {
    await this.shutDown();
    await this.#folder.remove();
  }

  /** Holds the data folder, backups, logs and the socket. */
  get folder(): string {
    return this.#folder.path;
  }
}
