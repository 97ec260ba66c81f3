/**
 * The delete guard for refreshes: whom they are about to delete is counted together since the last complete scan began, and counts in the next
 * scan's guard as well (ARCHITECTURE.md, "Refresh": the guard can not be gone round).
 */
import { type GuardLimits, trips } from '../../shared/guard.ts';
import { keys, type MirrorTag } from '../../shared/keys.ts';
import type { Redis } from '../../shared/redis.ts';

/** Without any complete scan for so long, what refreshes may delete is counted anew. */
const KEPT_MS = 7 * 24 * 60 * 60_000;

/** KEYS: the window. ARGV: sub, time of its look, milliseconds. Gives how many there are with it. */
const ENTER_LUA = `
redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('ZCARD', KEYS[1])
`;

export class DeleteWindow {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #guard: GuardLimits;

  constructor(redis: Redis, tag: MirrorTag, guard: GuardLimits) {
    this.#redis = redis;
    this.#key = keys.refreshedDeletes(tag);
    this.#guard = guard;
  }

  /**
   * Counts a user who is missing, before he is proved gone.
   * @param mirrorUsers how many the mirror holds now
   * @returns false where that is more than the guard allows: then he is not counted, and is to be held
   */
  async enter(sub: string, lookedAt: number, mirrorUsers: number): Promise<boolean> {
    const count = Number(await this.#redis.script(ENTER_LUA, [this.#key], [sub, lookedAt, KEPT_MS]));
    // Those deleted already were users of the mirror too.
    if (!trips(count, mirrorUsers + count - 1, this.#guard)) return true;
    await this.leave(sub);
    return false;
  }

  /** He is there after all, or nobody can say. */
  async leave(sub: string): Promise<void> {
    await this.#redis.client.zrem(this.#key, sub);
  }

  /** How many were deleted, for a scan's guard. */
  async count(): Promise<number> {
    return await this.#redis.client.zcard(this.#key);
  }

  /** A scan is complete: what was looked at before it began is counted no more. */
  async scanned(floor: number): Promise<void> {
    await this.#redis.client.zremrangebyscore(this.#key, '-inf', `(${floor}`);
  }
}
