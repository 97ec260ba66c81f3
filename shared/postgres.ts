/**
 * The door to Postgres: the one place that opens connections, so that each session means the same by a time, a name and a time-out.
 */
import pg from 'pg';
import { UserFacingError } from './errors.ts';
import { OpportunisticClient } from './postgres-opportunistic.ts';
import { TLS_PARAMETERS, tlsOf } from './postgres-tls.ts';
import type { TableName } from './settings-values.ts';

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database?sslmode=…`; what `sslmode` means is said at `tlsOf`. */
  readonly url: string;
  /** How the password is found. `rds-iam` will be a callback that node-postgres asks at each new connection; it is refused until then. */
  readonly auth?: 'password' | 'rds-iam';
  /** Shown in pg_stat_activity. */
  readonly applicationName: string;
  /** Most connections at once. */
  readonly max?: number;
  /** Told of a connection that broke; whoever was using it gets the error too. */
  readonly onConnectionLost?: (error: Error) => void;
}

const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 60_000;
/** How much longer the client waits before it takes the connection for dead. */
const CLIENT_GRACE_MS = 5_000;
const ROLLBACK_TIMEOUT_MS = 5_000;
/** For what Postgres answers at once: a connection that leads nowhere is noticed by it, and not only after a statement's time-out. */
export const SHORT_QUERY_MS = 10_000;
const KEEPALIVE_IDLE_MS = 10_000;
const IDLE_CONNECTION_MS = 60_000;
/** NAMEDATALEN - 1: Postgres cuts longer names off with no more than a notice. */
const IDENTIFIER_BYTES = 63;

/**
 * What every session is told before it is handed out, and every transaction again. By SET and not in the startup message, which connection
 * poolers refuse (https://www.pgbouncer.org/config.html#ignore_startup_parameters); again, because behind a pooler in transaction mode the next
 * transaction may run in another session (0.1 ms). Nothing of it may be left to the database's or the role's defaults:
 * - row_security = off makes a query fail that a policy would have filtered in silence;
 * - search_path = pg_catalog: nobody's function or table stands in for a built-in one; names of ours are qualified;
 * - jit = off: compiling takes longer than a batch.
 *
 * Left alone on purpose: synchronous_commit (the operator's bargain) and default_transaction_read_only (how a full disk is announced).
 */
const SETTINGS = [
  `client_encoding = 'UTF8'`,
  `TimeZone = 'UTC'`,
  `DateStyle = 'ISO, YMD'`,
  `IntervalStyle = 'postgres'`,
  `bytea_output = 'hex'`,
  'standard_conforming_strings = on',
  'row_security = off',
  'search_path = pg_catalog',
  'client_min_messages = warning',
  'jit = off',
  `idle_in_transaction_session_timeout = '10s'`,
  `lock_timeout = '5s'`,
  `statement_timeout = ${STATEMENT_TIMEOUT_MS}`,
];
const FOR_SESSION = SETTINGS.map((setting) => `set ${setting}`).join('; ');
const FOR_TRANSACTION = SETTINGS.map((setting) => `set local ${setting}`).join('; ');

/**
 * A pool of connections; none is opened before the first use. Nothing in it crashes the process when a connection breaks.
 * @throws UserFacingError for a URL that is none, an sslmode that is unknown, a certificate that can't be read; never with the password in it
 */
export function connectPostgres(options: PostgresOptions): pg.Pool {
  if (options.auth === 'rds-iam') throw new UserFacingError('DATABASE_AUTH=rds-iam is not supported yet');
  const { connectionString, parameters } = splitUrl(options.url);
  const tls = tlsOf(parameters);
  const direct = parameters.get('sslnegotiation') === 'direct';
  if (direct && (tls.ssl === false || tls.opportunistic)) {
    throw new UserFacingError('DATABASE_URL: sslnegotiation=direct needs sslmode=require, verify-ca or verify-full');
  }
  const connectTimeoutMs = Number(parameters.get('connect_timeout')) * 1_000 || CONNECT_TIMEOUT_MS;
  const config: pg.PoolConfig = {
    connectionString,
    application_name: options.applicationName,
    max: options.max ?? 4,
    ssl: tls.ssl,
    ...(direct ? { sslnegotiation: 'direct' } : {}),
    enableChannelBinding: parameters.get('channel_binding') === 'require',
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: IDLE_CONNECTION_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_IDLE_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + CLIENT_GRACE_MS,
    types: { getTypeParser },
  };
  const probe = parsed(config);
  // libpq ignores sslmode on a local socket.
  if (probe.host.startsWith('/')) config.ssl = false;
  else if (tls.opportunistic) config.Client = OpportunisticClient;

  const sessions = new Set<pg.Client>();
  const pool = new pg.Pool({
    ...config,
    onConnect: async (client) => {
      // A client that breaks while it is lent out emits `error` too, and an `error` without a listener ends the process.
      client.on('error', () => undefined);
      const query: TimedQuery = { text: FOR_SESSION, query_timeout: connectTimeoutMs };
      await client.query(query);
    },
  });
  pool.on('error', (error) => options.onConnectionLost?.(error));
  pool.on('connect', (client) => sessions.add(client));
  pool.on('remove', (client) => sessions.delete(client));
  sessionsOf.set(pool, sessions);
  return pool;
}

const sessionsOf = new WeakMap<pg.Pool, ReadonlySet<pg.Client>>();

/**
 * Ends a pool: waits for clients that are lent out, but no longer than this; then cuts what is left. (`pool.end()` alone waits for ever for a
 * server that no longer answers.) Can be called twice.
 */
export async function closePostgres(pool: pg.Pool, graceMs = 3_000): Promise<void> {
  if (pool.ending) return;
  let timer: NodeJS.Timeout | undefined;
  const cut = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      for (const client of sessionsOf.get(pool) ?? []) client.connection.stream.destroy();
      resolve();
    }, graceMs);
  });
  await Promise.race([pool.end(), cut]);
  clearTimeout(timer);
}

/** A query with a time-out of its own on the client, in milliseconds; node-postgres knows it, its types don't. */
export interface TimedQuery extends pg.QueryConfig {
  readonly query_timeout: number;
}

/** Lends a client for as long as `work` takes. A client that isn't fit for the next one is closed. */
export async function withClient<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let reusable = false;
  try {
    const result = await work(client);
    reusable = client.getTransactionStatus() === 'I';
    return result;
  } catch (error) {
    reusable = error instanceof pg.DatabaseError && client.getTransactionStatus() === 'I';
    throw error;
  } finally {
    client.release(!reusable);
  }
}

/**
 * Runs `work` in a transaction and commits it; whatever it throws rolls back and is thrown on. A client whose rollback fails, or whose
 * connection is gone, is closed: the server then rolls back by itself.
 * @throws Error also where `work` swallowed a failed statement: Postgres answers that COMMIT with a ROLLBACK and no error
 */
export async function transaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  isolation: 'read committed' | 'repeatable read' = 'read committed',
): Promise<T> {
  const client = await pool.connect();
  let reusable = false;
  try {
    const begin: TimedQuery = {
      text: `begin isolation level ${isolation}; ${FOR_TRANSACTION}`,
      query_timeout: SHORT_QUERY_MS,
    };
    await client.query(begin);
    const result = await work(client);
    const end = await client.query('commit');
    if (end.command !== 'COMMIT') throw new Error('the transaction had failed: its commit rolled back');
    reusable = true;
    return result;
  } catch (error) {
    reusable = await rolledBack(client);
    throw error;
  } finally {
    client.release(!reusable);
  }
}

async function rolledBack(client: pg.PoolClient): Promise<boolean> {
  const query: TimedQuery = { text: 'rollback', query_timeout: ROLLBACK_TIMEOUT_MS };
  try {
    await client.query(query);
    return client.getTransactionStatus() === 'I';
  } catch {
    return false;
  }
}

/**
 * @throws RangeError for a name that Postgres would cut off, or that can't be one
 */
export function quoteIdentifier(name: string): string {
  if (name === '' || name.includes('\u0000') || Buffer.byteLength(name) > IDENTIFIER_BYTES) {
    throw new RangeError(`not a Postgres name of 1 to ${IDENTIFIER_BYTES} bytes: ${JSON.stringify(name)}`);
  }
  return pg.escapeIdentifier(name);
}

/** @throws RangeError as `quoteIdentifier` */
export const quoteTable = ({ schema, name }: TableName): string =>
  `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;

const TIMESTAMP = 1114;
const TIMESTAMPTZ = 1184;

/** As node-postgres, but for `timestamp`: its text is UTC here, never the time zone of this process. */
const getTypeParser: typeof pg.types.getTypeParser = ((oid: number, format?: 'text' | 'binary') => {
  if (oid !== TIMESTAMP || format === 'binary') return pg.types.getTypeParser(oid, format as 'text');
  const parse: (text: string) => unknown = pg.types.getTypeParser(TIMESTAMPTZ, 'text');
  return (text: string) => parse(text.endsWith('infinity') ? text : text.replace(/( BC)?$/, '+00$1'));
}) as typeof pg.types.getTypeParser;

/** Takes from the URL what is read here, so that node-postgres doesn't read it in its own way. */
function splitUrl(url: string): { connectionString: string; parameters: URLSearchParams } {
  if (!/^postgres(ql)?:\/\//.test(url)) {
    throw new UserFacingError('DATABASE_URL must begin with postgres:// or postgresql://');
  }
  const mark = url.indexOf('?');
  if (mark < 0) return { connectionString: url, parameters: new URLSearchParams() };
  const parameters = new URLSearchParams(url.slice(mark + 1));
  const rest = new URLSearchParams(parameters);
  for (const name of [...TLS_PARAMETERS, 'sslnegotiation', 'channel_binding', 'connect_timeout']) rest.delete(name);
  return { connectionString: `${url.slice(0, mark)}?${rest}`, parameters };
}

/** What node-postgres makes of the URL; connects to nothing. Its own message may quote the URL, so it isn't passed on. */
function parsed(config: pg.ClientConfig): pg.Client {
  try {
    return new pg.Client(config);
  } catch {
    throw new UserFacingError(
      'DATABASE_URL is not a URL of one Postgres server: postgres://user:password@host:port/database',
    );
  }
}
