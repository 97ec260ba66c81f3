/**
 * A writer as services/writer/writer.ts puts it together, over doors in memory: all that decides is the service's own code. Two threads: one takes
 * jobs, one looks around.
 */

import { type AgreementDoors, agree, compareHistories, type Occasion } from '../../services/writer/agreement.ts';
import { apply } from '../../services/writer/apply.ts';
import { begin, hold, keepalive } from '../../services/writer/scan-marks.ts';
import { parseMessage } from '../../shared/change.ts';
import { MemoryLedger } from './memory-ledger.ts';
import { MemoryQueue } from './memory-queue.ts';
import { MemorySnapshot } from './memory-snapshot.ts';
import type { Observer } from './observer.ts';
import { Outage, Process } from './scheduler.ts';
import type { World } from './world.ts';

const LOOK_EVERY_MS = 2_000;
const RETRY_MS = 300;

export class WriterReplica {
  readonly process: Process;
  readonly #world: World;
  readonly #observer: Observer;
  readonly #ledger: MemoryLedger;
  readonly #snapshot: MemorySnapshot;
  readonly #changes: MemoryQueue;

  constructor(name: string, world: World, observer: Observer) {
    this.process = new Process(name);
    this.#world = world;
    this.#observer = observer;
    this.#ledger = new MemoryLedger(world.postgres, this.process);
    this.#snapshot = new MemorySnapshot(world.redis, this.process, () => world.newId('g'));
    this.#changes = new MemoryQueue(world.redis, this.process, 'changes');
  }

  start(): void {
    this.#run().catch((error: unknown) => this.#world.scheduler.fail(error));
  }

  async #run(): Promise<void> {
    await this.#untilDone(() => this.#agree());
    await Promise.all([this.#work(), this.#watch()]);
  }

  async #work(): Promise<never> {
    for (;;) {
      const job = await this.#untilDone(() => this.#changes.take());
      const result = await this.#untilDone(() => this.#handle(job.data));
      // A worker logs what its acknowledgement is answered with, and goes on.
      await job.finish({ result }).catch(forgiven);
    }
  }

  async #watch(): Promise<never> {
    for (;;) {
      await this.#lookAround().catch(forgiven);
      await this.#world.scheduler.sleep(this.process, LOOK_EVERY_MS);
    }
  }

  async #lookAround(): Promise<void> {
    const slot = await this.#ledger.slot();
    const { state } = compareHistories(slot, await this.#snapshot.read([]));
    if (state !== 'agreed') await this.#agree();
    else if (this.#world.resyncWanted) {
      await this.#agree({ reason: 'asked for', timeline: slot.timeline });
      this.#world.resyncWanted = false;
    }
    await this.#announce();
  }

  async #announce(): Promise<void> {
    const slot = await this.#ledger.slot();
    const { pointer } = await this.#snapshot.read([]);
    const stands = slot.resyncReason === null && pointer?.timeline === slot.timeline;
    await this.#world.scheduler.step(this.process, 'announce', () => {
      this.#world.redis.held.announced = stands ? slot.timeline : null;
    });
  }

  readonly #agree = async (occasion?: Occasion): Promise<void> => {
    const world = this.#world;
    const doors: AgreementDoors = {
      ledger: this.#ledger,
      snapshot: this.#snapshot,
      clock: () => world.scheduler.step(this.process, 'clock', () => world.redis.observationTime()),
      newId: () => world.newId('i'),
      wait: () => world.scheduler.sleep(this.process, RETRY_MS),
      onResync: () => undefined,
    };
    await agree(doors, occasion);
  };

  async #handle(data: unknown): Promise<unknown> {
    const message = parseMessage(data);
    const world = this.#world;
    switch (message.type) {
      case 'batch': {
        const applied = await apply(message, {
          ledger: this.#ledger,
          snapshot: this.#snapshot,
          agree: this.#agree,
          newId: () => world.newId('c'),
          guard: world.guard,
        });
        if (applied.held > 0) await this.#syncHeld();
        return applied;
      }
      case 'begin':
        await this.#agree();
        return await begin(this.#ledger, message);
      case 'hold': {
        const result = await hold(this.#ledger, message);
        await this.#syncHeld();
        return result;
      }
      case 'keepalive': {
        await this.#agree();
        const kept = await keepalive(this.#ledger, this.#snapshot, message);
        if (kept.kept) this.#observer.keptAlive(message.scan ?? '', message.timeline, message.floor);
        await this.#syncHeld();
        const { resyncIntervalMs } = world;
        if (
          kept.kept &&
          kept.resyncedAt !== null &&
          resyncIntervalMs !== null &&
          message.floor - kept.resyncedAt > resyncIntervalMs
        ) {
          await this.#agree({ reason: 'anti-entropy', timeline: message.timeline });
        }
        return kept;
      }
    }
  }

  async #syncHeld(): Promise<void> {
    const { scheduler, postgres, redis } = this.#world;
    const subs = await scheduler.step(this.process, 'pg held deletes', () => [...postgres.database.held.keys()]);
    await scheduler.step(this.process, 'set held', () => {
      redis.held.heldSubs = new Set(subs);
    });
  }

  /** Tries in place, as the real one does. What is no outage is a fault of the code, and ends the run. */
  async #untilDone<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        forgiven(error);
        await this.#world.scheduler.sleep(this.process, RETRY_MS);
      }
    }
  }
}

/** @throws whatever is no outage */
export function forgiven(error: unknown): void {
  if (!(error instanceof Outage)) throw error;
}
