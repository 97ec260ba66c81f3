/**
 * Changes on their way to the writer: gathered into batches, each a child of the job that found them, held back while too many wait.
 */
import { randomUUID } from 'node:crypto';
import type { Job, Queue } from 'bullmq';
import { type Change, type Message, parseMessage, WIRE_VERSION } from '../../shared/change.ts';
import { sleep } from '../../shared/clock.ts';
import { batchId, jobOptions, queueLoad } from '../../shared/queue.ts';
import type { Redis } from '../../shared/redis.ts';
import { noteChild } from './children.ts';

/** A batch ends with the change that reaches one of these. Characters of JSON, which is about bytes. */
export const BATCH_CHANGES = 1_000;
export const BATCH_CHARACTERS = 1_000_000;
/** A gathering goes out with the page that fills it; so much over is no reason to cut. */
const OVERSHOOT = 1.25;
/** Bytes that may wait in the queue, beside MAX_QUEUED_CHANGES: a row can be 140 KB. */
export const MAX_QUEUED_BYTES = 64 * 1024 * 1024;
/** Past this part of Redis's maxmemory nothing is added. */
const MEMORY_PART = 0.8;
const LOOK_AGAIN_MS = 250;

export interface OutboxOptions {
  readonly redis: Redis;
  readonly changes: Queue;
  readonly pool: string;
  readonly maxQueuedChanges: number;
  readonly signal: AbortSignal;
  /** Told when it begins to hold back, and when it goes on. */
  readonly onPause: (paused: boolean) => void;
}

export class Outbox {
  readonly #options: OutboxOptions;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /**
   * Queues one batch, or several where one would be too large. A batch that is queued twice does no harm; one under an id that was used before
   * would be ignored, so no id is used twice.
   */
  async send(changes: readonly Change[], timeline: string, scan: string | null, parent: Job): Promise<void> {
    for (const part of cut(changes)) {
      const message: Message = {
        type: 'batch',
        v: WIRE_VERSION,
        pool: this.#options.pool,
        timeline,
        scan,
        changes: part.changes,
      };
      await this.room(part.changes.length, part.characters);
      await this.#add(message, batchId(randomUUID(), part.changes.length, part.characters), parent, false);
    }
  }

  /**
   * The same for what refreshes have found: it goes before all that waits. The order of batches means nothing; the writer goes by observation times.
   * @param parent of one that is answered; null: nobody waits for it
   * @returns the ids of the batches' jobs
   */
  async sendFirst(changes: readonly Change[], timeline: string, parent: Job | null): Promise<string[]> {
    const ids: string[] = [];
    for (const part of cut(changes)) {
      const { pool } = this.#options;
      const message: Message = { type: 'batch', v: WIRE_VERSION, pool, timeline, scan: null, changes: part.changes };
      const id = batchId(randomUUID(), part.changes.length, part.characters);
      await this.room(part.changes.length, part.characters);
      await this.#add(message, id, parent, true);
      ids.push(id);
    }
    return ids;
  }

  /** What is no batch waits for no room: it is small, and it is what ends a scan. */
  async ask(message: Message, parent: Job): Promise<void> {
    await this.#add(message, randomUUID(), parent, false);
  }

  /** The same for a refresh, which doesn't wait for it. */
  async askFirst(message: Message): Promise<void> {
    await this.#add(message, randomUUID(), null, true);
  }

  async #add(message: Message, id: string, parent: Job | null, first: boolean): Promise<void> {
    await this.#options.changes.add(message.type, parseMessage(message), {
      ...jobOptions(id, parent === null ? undefined : parentOf(parent)),
      // At the consuming end of the queue's list; `queueLoad` counts it there like any other.
      ...(first ? { lifo: true } : {}),
    });
    if (parent !== null) noteChild(parent, id);
  }

  /** Whether this much more may be queued now. */
  async #full(changes: number, bytes: number): Promise<boolean> {
    const { redis, changes: queue, maxQueuedChanges } = this.#options;
    const load = await queueLoad(queue);
    // A batch larger than the whole limit still goes into an empty queue.
    if (load.jobs > 0 && (load.changes + changes > maxQueuedChanges || load.bytes + bytes > MAX_QUEUED_BYTES))
      return true;
    return await memoryFull(redis);
  }

  hasRoom(): Promise<boolean> {
    return this.#full(1, 1).then((full) => !full);
  }

  /** Returns when there is room. @throws Error when the signal is aborted first */
  async room(changes: number, bytes: number): Promise<void> {
    const { signal, onPause } = this.#options;
    if (!(await this.#full(changes, bytes))) return;
    onPause(true);
    do {
      await sleep(LOOK_AGAIN_MS, signal);
      signal.throwIfAborted();
    } while (await this.#full(changes, bytes));
    onPause(false);
  }
}

function parentOf({ id, queueQualifiedName }: Job): { id: string; queue: string } {
  if (id === undefined) throw new TypeError('a job without an id');
  return { id, queue: queueQualifiedName };
}

async function memoryFull(redis: Redis): Promise<boolean> {
  const info = await redis.client.info('memory');
  const field = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0);
  const most = field('maxmemory');
  return most > 0 && field('used_memory') > most * MEMORY_PART;
}

/** Whether a batch under way should go out. */
export const isFull = (changes: number, characters: number): boolean =>
  changes >= BATCH_CHANGES || characters >= BATCH_CHARACTERS;

/** About the JSON's length of a change, without making the JSON. */
export function charactersOf(change: Change): number {
  if (change.kind === 'delete') return 120 + change.username.length;
  let characters = 260 + change.row.username.length + (change.row.email?.length ?? 0);
  for (const [name, value] of change.row.attributes) characters += 8 + name.length + (value?.length ?? 4);
  return characters;
}

function* cut(changes: readonly Change[]): Generator<{ changes: Change[]; characters: number }> {
  let part: Change[] = [];
  let characters = 0;
  for (const change of changes) {
    part.push(change);
    characters += charactersOf(change);
    // What overshot by less than a page's worth travels whole: a second job for the rest would double the transactions.
    if (isFull(part.length / OVERSHOOT, characters / OVERSHOOT)) {
      yield { changes: part, characters };
      part = [];
      characters = 0;
    }
  }
  if (part.length > 0) yield { changes: part, characters };
}
