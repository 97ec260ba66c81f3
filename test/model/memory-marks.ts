/** As much of a Redis client as services/poller/seen.ts uses. */

import type { Redis } from '../../shared/redis.ts';
import { decodeSub } from '../../shared/snapshot.ts';
import type { MemoryRedis } from './memory-redis.ts';
import type { Process } from './scheduler.ts';

export class MarksRedis {
  readonly client = {
    hget: (key: string, field: string) =>
      this.#step(`hget ${field}`, () => this.#redis.held.hashes.get(key)?.get(field) ?? null),
    hset: (key: string, field: string, value: string) =>
      this.#step(`hset ${field}`, () => this.#hash(key).set(field, value)),
    hdel: (key: string, field: string) =>
      this.#step(`hdel ${field}`, () => this.#redis.held.hashes.get(key)?.delete(field)),
    unlink: (...names: string[]) =>
      this.#step('unlink marks', () => {
        for (const name of names) {
          this.#redis.held.hashes.delete(name);
          this.#redis.held.strings.delete(name);
        }
      }),
    /** For the outbox, which asks how full the memory is: it has no limit. */
    info: () => Promise.resolve(''),
  };
  readonly #redis: MemoryRedis;
  readonly #process: Process;

  readonly #onNote: (subs: readonly string[]) => void;

  /** @param onNote told of the users whom a note marks, when it is there */
  constructor(redis: MemoryRedis, owner: Process, onNote: (subs: readonly string[]) => void = () => undefined) {
    this.#redis = redis;
    this.#process = owner;
    this.#onNote = onNote;
  }

  asRedis(): Redis {
    return this as unknown as Redis;
  }

  /** The two scripts of seen.ts, told apart by their arguments. */
  script(_lua: string, names: readonly string[], args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return args.length === 0 ? this.#marks(names) : this.#note(names, args);
  }

  /** MARKS_LUA. KEYS: the progress, a group. No step where there is nothing: see MemorySnapshotReader.buckets. */
  #marks([progress = '', group = '']: readonly string[]): Promise<unknown> {
    const { held } = this.#redis;
    const value = () => [this.#redis.held.hashes.has(progress) ? 1 : 0, this.#redis.held.strings.get(group) ?? null];
    return held.strings.has(group) ? this.#step('get marks', value) : Promise.resolve(value());
  }

  /** NOTE_LUA. KEYS: the progress, then groups. ARGV: seconds, shard, progress or '', then marks. */
  #note(names: readonly string[], [, shard, text, ...marks]: readonly (string | number | Buffer)[]): Promise<unknown> {
    return this.#step('note marks', () => {
      const [progress = '', ...groups] = names;
      groups.forEach((key, i) => {
        const old = this.#redis.held.strings.get(key) ?? Buffer.alloc(0);
        this.#redis.held.strings.set(key, Buffer.concat([old, marks[i] as Buffer]));
      });
      this.#onNote(marks.flatMap((mark) => subsOf(mark as Buffer)));
      if (text !== '') this.#hash(progress).set(String(shard), String(text));
      return 1;
    });
  }

  #hash(key: string): Map<string, string> {
    const { hashes } = this.#redis.held;
    const hash = hashes.get(key) ?? new Map<string, string>();
    hashes.set(key, hash);
    return hash;
  }

  #step<T>(what: string, effect: () => T): Promise<T> {
    return this.#redis.scheduler.step(this.#process, what, effect);
  }
}

/** Sixteen bytes each; here all subs are UUIDs. */
const subsOf = (marks: Buffer): string[] =>
  Array.from({ length: marks.length / 16 }, (_, n) => decodeSub(marks.subarray(n * 16, n * 16 + 16)));
