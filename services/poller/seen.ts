/**
 * Whom a scan has seen: sixteen bytes a user, appended to one string for each of 64 groups. A group is all users whose bucket's number leaves the
 * same rest (shared/snapshot.ts), so the missing ones are found group by group, in memory for a sixty-fourth of the pool.
 */
import { hash } from 'node:crypto';
import { keys, type MirrorTag } from '../../shared/keys.ts';
import type { Redis } from '../../shared/redis.ts';
import type { Entry } from '../../shared/snapshot.ts';
import { bucketGroup, encodeSub, GROUPS, type SnapshotReader } from '../../shared/snapshot.ts';
import type { ShardResult } from './scan.ts';

/** How a shard's walk came out. */
export interface Walked {
  /** The list ended: an absent token. */
  readonly ended: boolean;
  readonly pages: number;
  readonly users: number;
  /** Of a walk over the whole pool: users whom shards would not show. */
  readonly unshardable: number;
  /** Why it didn't end; null where it did. */
  readonly reason: string | null;
  /** It didn't end because Cognito refuses its filter: the whole pool is to be walked in its stead. */
  readonly filterRefused?: boolean;
}

const MARK_BYTES = 16;
/** A scan that stands still for so long is over; so is a page token. */
const KEPT_SECONDS = 2 * 60 * 60;
/** Buckets read in one round trip. */
const BUCKETS_AT_ONCE = 32;

/** How far a shard has come: everything before the token has been marked, and its changes queued. */
export interface ShardProgress {
  readonly token: string;
  readonly pages: number;
  readonly users: number;
}

const markOf = (field: Buffer): Buffer =>
  field.length === MARK_BYTES ? field : hash('sha256', field, 'buffer').subarray(0, MARK_BYTES);

/** KEYS: the progress, then groups. ARGV: seconds, shard, progress or '', then one string for each group. */
const NOTE_LUA = `
for i = 2, #KEYS do
  redis.call('APPEND', KEYS[i], ARGV[i + 2])
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], ARGV[2], ARGV[3]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
`;

/** KEYS: the progress, a group. The progress is there as long as the marks are: they are forgotten together, and expire last. */
const MARKS_LUA = `return {redis.call('EXISTS', KEYS[1]), redis.call('GET', KEYS[2])}`;

/** The scan has ended, in the hands of another replica while this one was stopped; or it stood still for too long. */
export class MarksForgotten extends Error {
  override readonly name = 'MarksForgotten';
}

export class Seen {
  readonly #redis: Redis;
  readonly #tag: MirrorTag;
  readonly #scan: string;

  constructor(redis: Redis, tag: MirrorTag, scan: string) {
    this.#redis = redis;
    this.#tag = tag;
    this.#scan = scan;
  }

  /** Marks users and, in the same step, notes how far their shard has come (null: no token yet). */
  async note(shard: string, subs: readonly string[], progress: ShardProgress | null): Promise<void> {
    const groups = new Map<number, Buffer[]>();
    for (const sub of subs) {
      const field = encodeSub(sub);
      const group = bucketGroup(field);
      const marks = groups.get(group);
      if (marks === undefined) groups.set(group, [markOf(field)]);
      else marks.push(markOf(field));
    }
    const names = [...groups.keys()].map((group) => keys.seen(this.#tag, this.#scan, group));
    const marks = [...groups.values()].map((buffers) => Buffer.concat(buffers));
    const text = progress === null ? '' : JSON.stringify(progress);
    await this.#redis.script(
      NOTE_LUA,
      [keys.progress(this.#tag, this.#scan), ...names],
      [KEPT_SECONDS, shard, text, ...marks],
    );
  }

  async progress(shard: string): Promise<ShardProgress | null> {
    const text = await this.#redis.client.hget(keys.progress(this.#tag, this.#scan), shard);
    return text === null ? null : (JSON.parse(text) as ShardProgress);
  }

  /** The shard has been walked, and all its batches are queued; or, with what became of them, they are done too. */
  async end(shard: string, walked: Walked | ShardResult): Promise<void> {
    await this.#redis.client.hset(keys.progress(this.#tag, this.#scan), `${shard}:end`, JSON.stringify(walked));
  }

  async ended(shard: string): Promise<Walked | ShardResult | null> {
    const text = await this.#redis.client.hget(keys.progress(this.#tag, this.#scan), `${shard}:end`);
    return text === null ? null : (JSON.parse(text) as Walked | ShardResult);
  }

  /** The shard begins anew: its token was refused. Whom it has marked stays marked. */
  async forgetProgress(shard: string): Promise<void> {
    await this.#redis.client.hdel(keys.progress(this.#tag, this.#scan), shard);
  }

  /**
   * The users of the snapshot that the scan has not seen, as far as their entries are older than its floor.
   * @throws MarksForgotten where that is not known any more: everybody would seem to be missing
   */
  async *missing(
    snapshot: SnapshotReader,
    generation: string,
    floor: number,
  ): AsyncGenerator<{ sub: string; entry: Entry }> {
    for (let group = 0; group < GROUPS; group++) {
      const marks = await this.#marks(group);
      const { buckets } = await snapshot.geometry(generation);
      for (let first = group; first < buckets; first += GROUPS * BUCKETS_AT_ONCE) {
        const numbers: number[] = [];
        for (let bucket = first; bucket < buckets && numbers.length < BUCKETS_AT_ONCE; bucket += GROUPS)
          numbers.push(bucket);
        for (const user of await snapshot.buckets(generation, numbers)) {
          if (user.entry.observedAt < floor && !marks.has(markOf(encodeSub(user.sub)).toString('latin1'))) yield user;
        }
      }
    }
  }

  async #marks(group: number): Promise<Set<string>> {
    const names = [keys.progress(this.#tag, this.#scan), keys.seen(this.#tag, this.#scan, group)];
    const [noted, marked] = (await this.#redis.script(MARKS_LUA, names, [])) as [number, Buffer | null];
    if (noted === 0) throw new MarksForgotten('whom the scan has seen is forgotten');
    const all = marked ?? Buffer.alloc(0);
    const marks = new Set<string>();
    for (let at = 0; at < all.length; at += MARK_BYTES) marks.add(all.toString('latin1', at, at + MARK_BYTES));
    return marks;
  }

  async forget(): Promise<void> {
    const names = Array.from({ length: GROUPS }, (_, group) => keys.seen(this.#tag, this.#scan, group));
    await this.#redis.client.unlink(keys.progress(this.#tag, this.#scan), ...names);
  }
}
