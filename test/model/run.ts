/** One run: two pollers and two writers, and whatever befalls them; then it becomes quiet, and what must hold is checked. */
import { checkSnapshot } from './agreement-check.ts';
import type { Command, Username } from './commands.ts';
import { Observer, SHARDED } from './observer.ts';
import { PollerReplica } from './poller-replica.ts';
import { checkQuiet } from './quiet.ts';
import { Random } from './random.ts';
import { World } from './world.ts';
import { WriterReplica } from './writer-replica.ts';

/** The line of the trace between what happens and what is checked. */
export const QUIET = 'it becomes quiet';

type Replica = WriterReplica | PollerReplica;

export class Run {
  readonly world = new World();
  readonly #observer = new Observer(this.world);
  readonly #replicas: Replica[] = [];

  constructor() {
    for (let place = 0; place < 4; place++) this.#replicas.push(this.#started(place));
  }

  /** Even places write, odd ones poll. */
  #started(place: number): Replica {
    const Kind = place % 2 === 0 ? WriterReplica : PollerReplica;
    const replica = new Kind(this.world.newId(place % 2 === 0 ? 'writer' : 'poller'), this.world, this.#observer);
    replica.start();
    return replica;
  }

  /** @throws Violation */
  async play(commands: readonly Command[]): Promise<void> {
    for (const command of commands) {
      this.world.scheduler.trace?.(JSON.stringify(command));
      await this.#obey(command);
      checkSnapshot(this.world);
    }
    this.world.scheduler.trace?.(QUIET);
    for (const job of this.world.redis.held.jobs.values()) job.notBefore = 0;
    for (const { process } of this.#replicas) {
      process.stopped = false;
      process.fault = null;
    }
    await checkQuiet(this.world);
  }

  async #obey(command: Command): Promise<void> {
    const { world } = this;
    const { scheduler, pool, redis, postgres } = world;
    // Nothing that happens does so in the very millisecond of another thing.
    scheduler.now++;
    switch (command.do) {
      case 'go': {
        scheduler.random = new Random(command.seed);
        const only = command.only === null ? null : this.#replica(command.only).process;
        await scheduler.go(command.steps, only);
        return;
      }
      case 'wait':
        scheduler.now += command.ms;
        return;
      case 'user':
        return this.#changeUser(command.what, command.username);
      case 'lag': {
        const hidden = command.hide === null ? undefined : pool.byUsername(command.hide)?.sub;
        pool.lag = { ms: command.ms, hidden: new Set(hidden === undefined ? [] : [hidden]) };
        return;
      }
      case 'pages':
        if (command.what === 'empty') pool.emptyPages = 55;
        else if (command.what === 'fail') pool.failing = true;
        else pool.refuseToken = true;
        return;
      case 'scan':
        world.wantedScans.push({ name: command.sharded ? SHARDED : 'scan' });
        return;
      case 'refresh':
        world.wantedRefreshes.push({ username: command.username });
        return;
      case 'crash': {
        const place = command.replica % this.#replicas.length;
        scheduler.kill(this.#replica(place).process);
        this.#replicas[place] = this.#started(place);
        return;
      }
      case 'stop':
      case 'wake':
        this.#replica(command.replica).process.stopped = command.do === 'stop';
        return;
      case 'fault':
        this.#replica(command.replica).process.fault = command.when;
        return;
      case 'redeliver': {
        const active = [...redis.held.jobs.values()].filter(({ state }) => state === 'active');
        const lock = active[command.job % Math.max(1, active.length)]?.lock;
        if (lock) lock.lost = true;
        return;
      }
      case 'delay': {
        const late = [...redis.held.jobs.values()].filter(({ state, data }) => state === 'wait' && isBatch(data));
        const job = late[command.job % Math.max(1, late.length)];
        if (job !== undefined) job.notBefore = scheduler.now + command.ms;
        return;
      }
      case 'redis':
        if (command.what !== 'save') world.losses++;
        if (command.what === 'save') redis.save();
        else if (command.what === 'restore') {
          world.redisWentBackAt = redis.observationTime();
          redis.restore();
        } else redis.lose(command.skewMs);
        return;
      case 'postgres':
        if (command.what === 'restore') world.losses++;
        if (command.what === 'save') postgres.save();
        else if (command.what === 'restore') postgres.restore();
        else if (command.what === 'replace mirror') postgres.replaceMirror();
        else postgres.endAll();
        return;
      case 'poison': {
        const sub = command.username === null ? undefined : pool.byUsername(command.username)?.sub;
        postgres.poison = new Set(sub === undefined ? [] : [sub]);
        if (sub !== undefined) world.everPoisoned = true;
        return;
      }
      case 'edit':
        return this.#edit(command.what, command.username);
      case 'resync':
        world.resyncWanted = true;
        return;
      case 'anti-entropy':
        world.resyncIntervalMs = command.on ? 1_000 : null;
        return;
    }
  }

  #replica(place: number): Replica {
    return this.#replicas[place % this.#replicas.length] as Replica;
  }

  #changeUser(what: (Command & { do: 'user' })['what'], username: Username): void {
    const { pool, scheduler } = this.world;
    const now = scheduler.now;
    if (what === 'create') pool.create(username, now);
    else if (what === 'delete') pool.delete(username, now);
    else if (what === 'disable') pool.disable(username, now);
    else if (what === 'recreate') {
      pool.delete(username, now);
      pool.create(username, ++scheduler.now);
    } else pool.update(username, now, what === 'update');
  }

  #edit(what: (Command & { do: 'edit' })['what'], username: Username): void {
    this.world.postgres.editByHand((mirror) => {
      const row = mirror.get(username);
      if (what === 'invent') {
        const made = { username: 'zoe', email: null, status: null, enabled: null, createdAt: null, updatedAt: null };
        mirror.set('zoe', { ...made, attributes: [] });
      }
      if (row === undefined) return;
      if (what === 'remove') mirror.delete(username);
      else if (what === 'email') mirror.set(username, { ...row, email: 'by hand' });
      else if (what === 'forward') mirror.set(username, { ...row, updatedAt: (row.updatedAt ?? 0) + 86_400_000 });
      else if (what === 'strip')
        mirror.set(username, { ...row, attributes: row.attributes.filter(([name]) => name !== 'sub') });
      else if (what === 'copy') mirror.set('yan', { ...row, username: 'yan' });
    });
  }
}

const isBatch = (data: unknown): boolean =>
  typeof data === 'object' && data !== null && 'type' in data && data.type === 'batch';
