/** An expiring lease in Redis: one replica does a thing; when it dies another one does. Its holder may believe in it a moment too long. */
import { randomUUID } from 'node:crypto';
import type { Redis } from '../../shared/redis.ts';

/** It runs out so long after its holder was last seen. */
export const LEASE_MS = 9_000;

const TAKE_LUA = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`;

const RELEASE_LUA = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

export class Lease {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #holder = randomUUID();

  constructor(redis: Redis, key: string) {
    this.#redis = redis;
    this.#key = key;
  }

  /** Takes it, or renews it. @returns whether it is ours now */
  async take(): Promise<boolean> {
    return (await this.#redis.script(TAKE_LUA, [this.#key], [this.#holder, LEASE_MS])) === 1;
  }

  /** A replica that ends cleanly lets the next one go on at once. */
  async release(): Promise<void> {
    await this.#redis.script(RELEASE_LUA, [this.#key], [this.#holder]);
  }
}
