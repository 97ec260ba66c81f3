/** Looks at one user are some seconds apart, whatever asks for them, so that a flood for one user costs a handful of requests. */
import { keys, type MirrorTag } from '../../shared/keys.ts';
import type { Redis } from '../../shared/redis.ts';
import { LADDER_MS } from './look-verdict.ts';

/** After so much quiet the next look is a first one again. */
const FORGOTTEN_MS = 60_000;

/** KEYS: the user's key. ARGV: how long it is kept, then the ladder. Gives how long to wait; 0: the look is noted and may begin. */
const TAKE_LUA = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local s = redis.call('HMGET', KEYS[1], 'looks', 'last')
local looks, last = tonumber(s[1] or '0'), tonumber(s[2] or '0')
local wait = last + tonumber(ARGV[2 + math.min(looks, #ARGV - 2)]) - now
if wait > 0 then return wait end
redis.call('HSET', KEYS[1], 'looks', looks + 1, 'last', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 0
`;

/** @returns 0 where a look may begin now (it is noted); else how many milliseconds to wait before asking again */
export async function takeLook(redis: Redis, tag: MirrorTag, id: string): Promise<number> {
  return Number(await redis.script(TAKE_LUA, [keys.look(tag, id)], [FORGOTTEN_MS, ...LADDER_MS]));
}
