/** Where hints from outside arrive, over HTTP and SQS, and find the mirrors that they are about. */
import type { HintSource } from '../../shared/hint-record.ts';
import type { HintBody } from './hint-body.ts';
import type { HintQueue } from './hint-queue.ts';

/** A mirror that hints can be queued for. */
export interface HintTarget {
  readonly pool: string;
  readonly hints: HintQueue;
}

/** No mirror of the pool is served now, so that nothing can be queued: ask again later. */
export class NobodyServes extends Error {
  override readonly name = 'NobodyServes';
}

export class Inbox {
  #targets: () => readonly HintTarget[] = () => [];
  #pools: ReadonlySet<string> = new Set();

  /** @param pools those of the settings: others' hints are ignored */
  open(pools: ReadonlySet<string>, targets: () => readonly HintTarget[]): void {
    this.#pools = pools;
    this.#targets = targets;
  }

  close(): void {
    this.#targets = () => [];
  }

  /**
   * Queues what a body hints at for every mirror of the pool that it names, or of all pools where it names none.
   * @returns how many users are to be looked at
   * @throws NobodyServes; what Redis throws: then nothing is certain, and it is to be given again
   */
  async take({ pool, eventId, hints, nameless }: HintBody, source: HintSource): Promise<number> {
    if (hints.length === 0 && !nameless) {
      for (const target of this.#targets()) await target.hints.count(source, { ignored: 1 });
      return 0;
    }
    if (pool !== null && !this.#pools.has(pool)) {
      for (const target of this.#targets()) await target.hints.count(source, { ignored: 1 });
      return 0;
    }
    const targets = this.#targets().filter((target) => pool === null || target.pool === pool);
    if (targets.length === 0) throw new NobodyServes('no mirror of this pool is served now');
    for (const target of targets) {
      if (eventId !== null && (await target.hints.isKnown(eventId))) {
        await target.hints.count(source, { received: 1, doubled: 1 });
        continue;
      }
      if (nameless) {
        await target.hints.hurry();
        await target.hints.count(source, { received: 1, nameless: 1 });
      }
      await target.hints.add(hints.map((hint) => ({ ...hint, source })));
      if (eventId !== null) await target.hints.know(eventId);
    }
    return hints.length;
  }

  /** Something came that is no hint at all. */
  async unreadable(source: HintSource): Promise<void> {
    for (const target of this.#targets()) await target.hints.count(source, { unreadable: 1 });
  }
}
