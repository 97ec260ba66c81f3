/**
 * The door to Redis: one place that knows URLs, time-outs and scripts.
 */
import { hash } from 'node:crypto';
import { Cluster, Redis as IORedis, type RedisOptions } from 'ioredis';

export type RedisClient = IORedis | Cluster;

export interface RedisSettings {
  /** `redis:`, `rediss:`, `redis+cluster://host:port,host:port`, `redis+sentinel://host:port,host:port/name`. */
  readonly url: string;
  /** The CA's certificates, PEM, for `rediss:`; null: the system's. */
  readonly ca: string | null;
}

/**
 * A command that gets no answer within this time finds its connection cut; ioredis connects again and sends it again. It is longer than any
 * blocking command that BullMQ sends: its drainDelay, 5 s, and 10 s where a job is delayed (Worker.maximumBlockTimeout). A shorter one would cut
 * every such wait, and the job would never be taken.
 */
const SOCKET_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 5_000;

/** Doubles from 50 ms to 2 s, with a fifth of jitter, for ever: a service outlives any outage of Redis. */
export const reconnectDelayMs = (attempt: number, random = Math.random): number =>
  Math.min(2_000, 50 * 2 ** Math.min(attempt, 10)) * (0.8 + 0.4 * random());

function optionsFor(ca: string | null, tls: boolean) {
  return {
    maxRetriesPerRequest: null,
    enableReadyCheck: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
    keepAlive: 10_000,
    retryStrategy: (attempt: number) => reconnectDelayMs(attempt),
    // A replica that was the primary a moment ago: go and find the new one.
    reconnectOnError: (error: Error): false | 2 => (error.message.startsWith('READONLY') ? 2 : false),
    ...(tls ? { tls: ca === null ? {} : { ca } } : {}),
  } satisfies RedisOptions;
}

/**
 * A client for a URL of any of the four forms. It connects when it is first used, or by `connect`.
 * @throws TypeError for a URL of no such form; its message holds no password.
 */
export function createRedisClient({ url, ca }: RedisSettings): RedisClient {
  const cluster = /^rediss?\+cluster:\/\/(?<rest>.*)$/.exec(url)?.groups?.['rest'];
  const sentinel = /^rediss?\+sentinel:\/\/(?<rest>.*)$/.exec(url)?.groups?.['rest'];
  const tls = url.startsWith('rediss');
  const options = optionsFor(ca, tls);
  if (cluster !== undefined) {
    const { nodes, credentials } = parseNodes(cluster, 6379);
    const { retryStrategy: _, ...redisOptions } = options;
    return withQuietErrors(
      new Cluster(nodes, {
        redisOptions: { ...redisOptions, ...credentials },
        clusterRetryStrategy: (attempt: number) => reconnectDelayMs(attempt),
        lazyConnect: true,
      }),
    );
  }
  if (sentinel !== undefined) {
    const { nodes, credentials, path } = parseNodes(sentinel, 26379);
    const name = decodeURIComponent(path[0] ?? '');
    if (name === '')
      throw new TypeError('a Sentinel URL ends with the name of the primary: redis+sentinel://host:port/name');
    const db = path[1] === undefined ? {} : { db: Number(path[1]) };
    return withQuietErrors(
      new IORedis({
        ...options,
        ...credentials,
        ...db,
        sentinels: nodes,
        name,
        lazyConnect: true,
        sentinelRetryStrategy: (attempt: number) => reconnectDelayMs(attempt),
      }),
    );
  }
  if (!/^rediss?:\/\//.test(url))
    throw new TypeError('not a Redis URL: it begins with redis:, rediss:, redis+cluster: or redis+sentinel:');
  return withQuietErrors(new IORedis(url, { ...options, lazyConnect: true }));
}

function parseNodes(rest: string, defaultPort: number) {
  const at = rest.lastIndexOf('@');
  const credentials: { username?: string; password?: string } = {};
  if (at >= 0) {
    const [user = '', password = ''] = rest.slice(0, at).split(':').map(decodeURIComponent);
    if (user !== '') credentials.username = user;
    if (password !== '') credentials.password = password;
  }
  const [hosts = '', ...path] = rest.slice(at + 1).split('/');
  const nodes = hosts.split(',').map((node) => {
    const parsed = new URL(`redis://${node}`);
    return { host: parsed.hostname.replace(/^\[|\]$/g, ''), port: Number(parsed.port || defaultPort) };
  });
  return { nodes, credentials, path };
}

/** Without a listener ioredis prints connection errors itself, and node ends the process for some. The services add their own. */
function withQuietErrors<Client extends RedisClient>(client: Client): Client {
  client.on('error', () => {});
  return client;
}

/** A client with scripts, sent by their SHA-1 and in full when the server doesn't know them. Replies are Buffers. */
export class Redis {
  readonly client: RedisClient;
  readonly #shas = new Map<string, string>();

  constructor(client: RedisClient) {
    this.client = client;
  }

  async script(lua: string, keys: readonly string[], args: readonly (string | number | Buffer)[]): Promise<unknown> {
    const sha = this.#shas.get(lua) ?? hash('sha1', lua, 'hex');
    this.#shas.set(lua, sha);
    try {
      return await this.client.callBuffer('EVALSHA', [sha, String(keys.length), ...keys, ...args.map(argument)]);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return await this.client.callBuffer('EVAL', [lua, String(keys.length), ...keys, ...args.map(argument)]);
    }
  }
}

const argument = (value: string | number | Buffer): string | Buffer =>
  typeof value === 'number' ? String(value) : value;

/** A loud line where Redis may throw keys away, which BullMQ and the snapshot can't bear; null where it doesn't, or won't say. */
export async function evictionWarning(redis: Redis): Promise<string | null> {
  const info = await redis.client.info('memory');
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
  if (policy === undefined || policy === 'noeviction') return null;
  return `Redis has maxmemory-policy ${policy}: it may throw away queued changes and the snapshot at any time; set it to noeviction`;
}
