/** The window of refreshed deletes in memory: what services/poller/delete-window.ts does in Redis. */
import type { DeleteWindow } from '../../services/poller/delete-window.ts';
import { trips } from '../../shared/guard.ts';
import type { Process } from './scheduler.ts';
import type { World } from './world.ts';

export class MemoryWindow {
  readonly #world: World;
  readonly #process: Process;

  constructor(world: World, owner: Process) {
    this.#world = world;
    this.#process = owner;
  }

  asWindow(): DeleteWindow {
    return this as unknown as DeleteWindow;
  }

  async enter(sub: string, lookedAt: number, mirrorUsers: number): Promise<boolean> {
    const count = await this.#step(`enter ${sub}`, (window) => {
      if (!window.has(sub)) window.set(sub, lookedAt);
      return window.size;
    });
    if (!trips(count, mirrorUsers + count - 1, this.#world.guard)) return true;
    await this.leave(sub);
    return false;
  }

  leave(sub: string): Promise<unknown> {
    return this.#step(`leave ${sub}`, (window) => window.delete(sub));
  }

  count(): Promise<number> {
    return this.#step('count', (window) => window.size);
  }

  scanned(floor: number): Promise<void> {
    return this.#step('scanned', (window) => {
      for (const [sub, lookedAt] of window) if (lookedAt < floor) window.delete(sub);
    });
  }

  #step<T>(what: string, effect: (window: Map<string, number>) => T): Promise<T> {
    const { scheduler, redis } = this.#world;
    return scheduler.step(this.#process, `window ${what}`, () => effect(redis.held.refreshedDeletes));
  }
}
