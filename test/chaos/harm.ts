/**
 * What is done to the world: drawn from the seed, one harm after another; pauses go on beside what follows. The order of harms is the seed's, their
 * moments are the machine's.
 */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../emulator/random.ts';
import type { Backup } from '../servers/postgres.ts';
import { command } from './redis-command.ts';
import type { World } from './world.ts';

export interface Tally {
  /** kill -9 of a service, a server or a backend. */
  kills: number;
  pauses: number;
  flushes: number;
  /** A Redis that came back without what it last wrote. */
  lostSeconds: number;
  /** Of Postgres as a whole. */
  restarts: number;
  restores: number;
}

type Harm = keyof Harmer['harms'];

const WEIGHTS: Readonly<Record<Harm, number>> = {
  killPoller: 24,
  killWriter: 24,
  killRedis: 6,
  killBackend: 8,
  pausePoller: 10,
  pauseWriter: 12,
  pauseRedis: 3,
  pauseBackend: 6,
  pausePostgres: 2,
  forgetLastSecond: 5,
  flush: 3,
  restartPostgres: 4,
  goBackInTime: 2,
};

const PAUSE_MOST_MS = 20_000;
const BETWEEN_MOST_MS = 2_500;
/** So often the next harm waits until the feed has recovered from the last: lies are only told to scans that get somewhere. */
const RECOVERS = 0.2;
const RECOVERY_MOST_MS = 12_000;
const RECOVERED_SCANS = 2;

export class Harmer {
  readonly tally: Tally = { kills: 0, pauses: 0, flushes: 0, lostSeconds: 0, restarts: 0, restores: 0 };
  readonly #world: World;
  readonly #random: Random;
  readonly #say: (line: string) => void;
  readonly #pauses = new Set<Promise<void>>();
  readonly #ending = new AbortController();
  #redisBusy = false;
  #postgresBusy = false;
  #base: Backup | undefined;

  constructor(world: World, seed: string, say: (line: string) => void) {
    this.#world = world;
    this.#random = new Random(`${seed}/harm`);
    this.#say = say;
  }

  /** One harm, and a while until the next. */
  async next(): Promise<void> {
    let left = this.#random.int(Object.values(WEIGHTS).reduce((sum, weight) => sum + weight, 0));
    for (const [name, weight] of Object.entries(WEIGHTS) as [Harm, number][]) {
      left -= weight;
      if (left >= 0) continue;
      await this.harms[name]();
      break;
    }
    await sleep(this.#random.int(BETWEEN_MOST_MS));
    if (this.#random.chance(RECOVERS)) await this.#recovery();
  }

  /** Some scans are applied; or it takes too long. */
  async #recovery(): Promise<void> {
    const deadline = performance.now() + RECOVERY_MOST_MS;
    let [scans, last] = [0, ''];
    while (scans <= RECOVERED_SCANS && performance.now() < deadline && !this.#ending.signal.aborted) {
      const asked = this.#world.postgres.query<{ at: string }>('select as_of::text as at from cognito_feed.slots').then(
        ({ rows }) => rows[0]?.at ?? '',
        () => '',
      );
      const at = await Promise.race([asked, sleep(1_000, '')]);
      if (at !== '' && at !== last) scans++;
      if (at !== '') last = at;
      await sleep(200);
    }
  }

  /** Ends all pauses. */
  async end(): Promise<void> {
    this.#ending.abort();
    await Promise.all(this.#pauses);
  }

  readonly harms = {
    killPoller: async () => this.#kill(this.#random.pick(this.#world.pollers)),
    killWriter: async () => this.#kill(this.#random.pick(this.#world.writers)),
    pausePoller: async () => this.#pause(this.#random.pick(this.#world.pollers)),
    pauseWriter: async () => this.#pause(this.#random.pick(this.#world.writers)),

    killRedis: () =>
      this.#withRedis('kill -9 Redis', async ({ redis }) => {
        this.tally.kills++;
        await redis.kill();
        await sleep(this.#random.int(3_000));
        await redis.start();
      }),

    /** What `appendfsync everysec` allows: the machine dies, and what was written since the last sync is gone. */
    forgetLastSecond: () =>
      this.#withRedis('kill -9 Redis, which forgets its last second', async ({ redis }) => {
        const [folder, copy] = [join(redis.folder, 'appendonlydir'), join(redis.folder, 'older')];
        await rm(copy, { recursive: true, force: true });
        await cp(folder, copy, { recursive: true });
        await sleep(100 + this.#random.int(1_500));
        this.tally.kills++;
        this.tally.lostSeconds++;
        await redis.kill();
        await rm(folder, { recursive: true });
        await cp(copy, folder, { recursive: true });
        await redis.start();
      }),

    pauseRedis: () =>
      this.#beside(() =>
        this.#withRedis('SIGSTOP Redis', async ({ redis }) => {
          this.tally.pauses++;
          redis.pause();
          await this.#awhile();
          redis.resume();
        }),
      ),

    flush: () =>
      this.#withRedis('FLUSHALL', async ({ redis }) => {
        this.tally.flushes++;
        await command(redis.port, 'FLUSHALL');
      }),

    killBackend: () =>
      this.#withPostgres('kill -9 a backend', async () => {
        const pid = await this.#backend();
        if (pid === undefined) return;
        this.tally.kills++;
        process.kill(pid, 'SIGKILL');
      }),

    pauseBackend: () =>
      this.#beside(async () => {
        const pid = await this.#backend();
        if (pid === undefined || this.#postgresBusy) return;
        this.#say(`SIGSTOP backend ${pid}`);
        this.tally.pauses++;
        process.kill(pid, 'SIGSTOP');
        await this.#awhile();
        // It may have ended, and its pid be another's.
        if (this.#world.server.pids().includes(pid)) process.kill(pid, 'SIGCONT');
      }),

    pausePostgres: () =>
      this.#beside(() =>
        this.#withPostgres('SIGSTOP Postgres', async ({ server }) => {
          this.tally.pauses++;
          server.pause();
          await this.#awhile();
          server.resume();
        }),
      ),

    restartPostgres: () =>
      this.#withPostgres('immediate stop of Postgres', async ({ server }) => {
        this.tally.restarts++;
        await server.shutDown('immediate');
        await sleep(this.#random.int(3_000));
        await server.start();
      }),

    /** The first time a base backup is made; the next time the server goes back to it. */
    goBackInTime: () =>
      this.#withPostgres(this.#base === undefined ? 'base backup' : 'restore the base backup', async ({ server }) => {
        await server.shutDown('fast');
        if (this.#base === undefined) this.#base = await server.backup();
        else {
          this.tally.restores++;
          await server.restore(this.#base);
          this.#base = undefined;
        }
        await server.start();
      }),
  };

  async #kill(service: World['pollers'][number]): Promise<void> {
    if (!service.running) return;
    this.#say(`kill -9 ${service.name}${service.paused ? ', which was stopped' : ''}`);
    this.tally.kills++;
    service.kill();
  }

  async #pause(service: World['pollers'][number]): Promise<void> {
    if (!service.running || service.paused) return;
    this.tally.pauses++;
    service.pause();
    await this.#beside(async () => {
      const ms = await this.#awhile();
      this.#say(`${service.name} was stopped for ${ms} ms`);
      service.resume();
    });
  }

  /** Goes on while the next harms come. */
  async #beside(work: () => Promise<void>): Promise<void> {
    const pause = work().finally(() => this.#pauses.delete(pause));
    this.#pauses.add(pause);
  }

  async #awhile(): Promise<number> {
    // Most are short, so that more than one thing happens at a time without everything standing still.
    const ms = Math.round(1_000 + (PAUSE_MOST_MS - 1_000) * this.#random.next() ** 2);
    await sleep(ms, undefined, { signal: this.#ending.signal }).catch(() => undefined);
    return ms;
  }

  async #withRedis(what: string, work: (world: World) => Promise<void>): Promise<void> {
    if (this.#redisBusy) return;
    this.#redisBusy = true;
    this.#say(what);
    await work(this.#world).finally(() => {
      this.#redisBusy = false;
    });
  }

  async #withPostgres(what: string, work: (world: World) => Promise<void>): Promise<void> {
    if (this.#postgresBusy) return;
    this.#postgresBusy = true;
    this.#say(what);
    await work(this.#world).finally(() => {
      this.#postgresBusy = false;
    });
  }

  /** Some session of a writer's; undefined while Postgres does not answer. */
  async #backend(): Promise<number | undefined> {
    const sessions = this.#world.postgres
      .query<{ pid: number }>(`select pid from pg_stat_activity where application_name = 'cognito-feed writer'`)
      .then(
        ({ rows }) => rows.map(({ pid }) => pid),
        () => [],
      );
    const pids = await Promise.race([sessions, sleep(1_000, [])]);
    return pids.length === 0 ? undefined : this.#random.pick(pids);
  }
}
