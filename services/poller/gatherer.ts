/** Changes that refreshes find at about the same time travel in one batch. */
import type { Change } from '../../shared/change.ts';
import { sleep } from '../../shared/clock.ts';

/** Long enough for looks that were answered together, too short for anybody to notice. */
const GATHER_MS = 25;

interface Gathering {
  readonly changes: Change[];
  readonly sent: Promise<void>;
}

export class Gatherer {
  readonly #send: (changes: readonly Change[], timeline: string) => Promise<unknown>;
  readonly #gatherings = new Map<string, Gathering>();

  constructor(send: (changes: readonly Change[], timeline: string) => Promise<unknown>) {
    this.#send = send;
  }

  /** Returns when the batch that the change went into is queued. @throws what sending it throws */
  async add(change: Change, timeline: string): Promise<void> {
    let gathering = this.#gatherings.get(timeline);
    if (gathering === undefined) {
      const changes: Change[] = [];
      gathering = { changes, sent: this.#sendSoon(changes, timeline) };
      this.#gatherings.set(timeline, gathering);
    }
    gathering.changes.push(change);
    await gathering.sent;
  }

  async #sendSoon(changes: readonly Change[], timeline: string): Promise<void> {
    await sleep(GATHER_MS);
    this.#gatherings.delete(timeline);
    await this.#send(changes, timeline);
  }
}
