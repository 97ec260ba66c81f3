/**
 * A service's connection to Redis, watched: it is logged and told to `/readyz` when it goes and when it is back, and it is given up at a stop.
 */
import { oneLine } from './errors.ts';
import type { Logger } from './log.ts';
import type { Readiness } from './readiness.ts';
import type { Redis, RedisClient } from './redis.ts';

/** How long what is under way at a stop may still use the connection; the shutdown's own deadline is 9.5 s. */
const STOP_GRACE_MS = 7_000;
const CONDITION = 'Redis';

/**
 * At a stop the connection goes at once where Redis is away, since commands would wait for it for ever; else after a grace for what is under way.
 */
export function watchConnection({ client }: Redis, signal: AbortSignal, log: Logger, readiness?: Readiness): void {
  let down: string | null = null;
  client.on('error', (error: Error) => {
    const line = oneLine(error);
    readiness?.fails(CONDITION, line);
    if (line !== down && !signal.aborted) log.warn({ err: error }, `waiting for Redis: ${line}`);
    down = line;
  });
  client.on('ready', () => {
    readiness?.holds(CONDITION);
    if (down !== null) log.info('Redis is back');
    down = null;
  });
  const stop = () => {
    if (client.status !== 'ready') giveUp(client);
    else setTimeout(() => giveUp(client), STOP_GRACE_MS).unref();
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
}

/**
 * Ends the connection and every command that waits for it. Between two attempts ioredis's own disconnect only stops the timer, and the commands
 * would wait for ever: an attempt that is broken off takes them along.
 */
function giveUp(client: RedisClient): void {
  if (client.status !== 'reconnecting') {
    client.disconnect();
    return;
  }
  client.connect().catch(() => undefined);
  // A cluster's client must have nodes before it can lose them.
  if (client.isCluster) setImmediate(() => client.disconnect());
  else client.disconnect();
}
