/**
 * One budget of ListUsers requests for all replicas and pools of a deployment in one Region, kept in Redis. Requests are spaced, never bunched:
 * whoever wants one is given the time of the next free place.
 */
import { sleep } from '../../shared/clock.ts';
import { keys } from '../../shared/keys.ts';
import type { Redis } from '../../shared/redis.ts';

export type Purpose = 'scan' | 'refresh';

/**
 * Places are a little further apart than the rate says, so that requests that come out some milliseconds late don't put one too many into any
 * second: at 10 a second, eleven places take 1,030 ms.
 */
const SPACING = 1.03;
/** Whoever wakes up so much after its place lets it go and asks for another. */
const LATE_MS = 20;
/** The part of the budget that refreshes may take while a scan wants more than there is. */
const REFRESH_SLICE = 0.3;
/** After a throttled answer the budget is cut to this part of itself, at most once a second and not below the least; then it grows back. */
const CUT = 0.7;
const LEAST = 0.1;
const REGROWTH_PER_SECOND = 0.02;

/**
 * How many places ahead of now anybody may book. A scan's two, so that a refresh never queues behind a whole deployment's shards; a refresh's two
 * more, so that it always finds one that no scan can have, and a scan waits for no more than that many refreshes.
 */
const SCAN_AHEAD = 2;
const REFRESH_AHEAD = 4;

/**
 * While a scan has waited within the last second, refreshes are as far apart as their slice says; what they don't take is the scan's. While none
 * has, everything is theirs, and nothing of it is held against them later.
 */
const TAKE_LUA = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local s = redis.call('HMGET', KEYS[1], 'next', 'refresh', 'scan', 'factor', 'slowed')
local factor = tonumber(s[4] or '1')
if factor < 1 then factor = math.min(1, factor + (now - tonumber(s[5])) / 1000 * ${REGROWTH_PER_SECOND}) end
local interval = 1000 / (tonumber(ARGV[1]) * factor) * ${SPACING}
local next = math.max(now, tonumber(s[1] or '0'))
local wait = next - now
if ARGV[2] == 'scan' then
  if wait > 0 then redis.call('HSET', KEYS[1], 'scan', string.format('%.3f', now)) end
  if wait > interval * ${SCAN_AHEAD} then return {0, string.format('%.3f', wait - interval * ${SCAN_AHEAD - 1})} end
else
  local slice = tonumber(s[2] or '0')
  local contended = now - tonumber(s[3] or '0') < 1000
  if contended and slice > next then return {0, string.format('%.3f', math.max(1, slice - next))} end
  if wait > interval * ${REFRESH_AHEAD} then return {0, string.format('%.3f', wait - interval * ${REFRESH_AHEAD - 1})} end
  redis.call('HSET', KEYS[1], 'refresh', string.format('%.3f', next + interval / ${REFRESH_SLICE}))
end
redis.call('HSET', KEYS[1], 'next', string.format('%.3f', next + interval))
redis.call('PEXPIRE', KEYS[1], 600000)
return {1, string.format('%.3f', wait)}
`;

const SLOW_LUA = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local s = redis.call('HMGET', KEYS[1], 'factor', 'slowed')
local slowed = tonumber(s[2] or '0')
if now - slowed < 1000 then return 0 end
local factor = math.min(1, tonumber(s[1] or '1') + (now - slowed) / 1000 * ${REGROWTH_PER_SECOND})
redis.call('HSET', KEYS[1], 'factor', string.format('%.4f', math.max(${LEAST}, factor * ${CUT})), 'slowed', string.format('%.3f', now))
redis.call('PEXPIRE', KEYS[1], 600000)
return 1
`;

export class Budget {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #requestsPerSecond: number;
  readonly #onTaken: (purpose: Purpose) => void;

  /** @param onTaken told of each place that is taken */
  constructor(
    redis: Redis,
    region: string,
    requestsPerSecond: number,
    onTaken: (purpose: Purpose) => void = () => undefined,
  ) {
    this.#onTaken = onTaken;
    this.#redis = redis;
    this.#key = keys.budget(region);
    this.#requestsPerSecond = requestsPerSecond;
  }

  /** Returns when a request may go out. @throws Error when the signal is aborted first */
  async take(purpose: Purpose, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const asked = performance.now();
      const [granted, wait] = (await this.#redis.script(TAKE_LUA, [this.#key], [this.#requestsPerSecond, purpose])) as [
        number,
        Buffer,
      ];
      const place = asked + Number(wait);
      await sleep(Math.max(0, place - performance.now()), signal);
      signal.throwIfAborted();
      if (granted !== 1 || performance.now() - place > LATE_MS) continue;
      this.#onTaken(purpose);
      return;
    }
  }

  /** AWS throttled a request: everybody slows down for a while. */
  async slow(): Promise<void> {
    await this.#redis.script(SLOW_LUA, [this.#key], []);
  }
}
