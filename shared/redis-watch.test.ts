/** At a stop nothing may wait for a Redis that is away, whatever the connection was doing. */
import { type AddressInfo, createServer, type Server } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { createLog } from './log.ts';
import { createRedisClient, Redis } from './redis.ts';
import { watchConnection } from './redis-watch.ts';

const quiet = createLog({ logLevel: 'fatal' });

async function listening(): Promise<{ server: Server; port: number }> {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  return { server, port: (server.address() as AddressInfo).port };
}

/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  const { server, port } = await listening();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test.for([
  ['between two attempts', 'reconnecting', 'redis:', closedPort],
  ['connecting', 'connecting', 'redis:', closedPort],
  ['connected to somebody who does not answer', 'connect', 'redis:', async () => (await listening()).port],
  ['a cluster between two attempts', 'reconnecting', 'redis+cluster:', closedPort],
  ['a cluster connecting', 'connecting', 'redis+cluster:', closedPort],
] as const)('%s: a command that waits is given up at a stop', async ([, status, scheme, port]) => {
  const redis = new Redis(createRedisClient({ url: `${scheme}//127.0.0.1:${await port()}`, ca: null }));
  const stop = new AbortController();
  watchConnection(redis, stop.signal, quiet);
  const waiting = redis.client.ping().catch((error: Error) => error.message);
  await new Promise<void>((resolve) => {
    const look = () => (redis.client.status === status ? resolve() : void setImmediate(look));
    look();
  });
  stop.abort();
  expect(await waiting).toMatch(/closed|None of startup nodes/);
});
