import { existsSync } from 'node:fs';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createDatabase } from './database.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';

/** The first value of the first row. */
async function ask(url: string, sql: string): Promise<unknown> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return Object.values(rows[0] ?? {})[0];
  } finally {
    await client.end();
  }
}

describe('the servers that the set-up provides', () => {
  test.each([
    ['15', inject('postgres15')],
    ['18', inject('postgres18')],
  ])('is really a Postgres %s, on loopback alone, ready for logical replication', async (major, url) => {
    expect(String(await ask(url, `select current_setting('server_version_num')::int / 10000`))).toBe(major);
    expect(await ask(url, 'show listen_addresses')).toBe('127.0.0.1');
    expect(await ask(url, 'show wal_level')).toBe('logical');
  });
});

describe('a database', () => {
  test('is fresh, UTF8, and gone after drop, sessions or not', async () => {
    const server = inject('postgres18');
    const database = await createDatabase(server);
    expect(await ask(database.url, 'show server_encoding')).toBe('UTF8');
    expect(await ask(database.url, 'select count(*)::int from pg_tables where schemaname = current_schema()')).toBe(0);
    const session = new Client({ connectionString: database.url });
    const ended = new Promise((resolve) => session.on('error', resolve));
    await session.connect();
    await database.drop();
    await ended;
    expect(await ask(server, `select count(*)::int from pg_database where datname = '${database.name}'`)).toBe(0);
    await database.drop();
  });

  test('can have another encoding and hostile defaults', async () => {
    const database = await createDatabase(inject('postgres15'), {
      encoding: 'LATIN1',
      settings: { DateStyle: 'SQL, DMY' },
    });
    expect(await ask(database.url, 'show server_encoding')).toBe('LATIN1');
    expect(await ask(database.url, 'show DateStyle')).toBe('SQL, DMY');
    await database.drop();
  });
});

describe('a server of a test of its own', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
    await ask(server.url(), 'select 1');
  });
  afterAll(async () => server?.stop());

  test('comes back on the same port with what was committed before kill -9', async () => {
    const port = server.port;
    await ask(server.url(), 'create table kept as select 42 as answer');
    expect(server.pids()).toContain(server.pid);
    await server.kill();
    expect(server.running).toBe(false);
    expect(server.pids()).toEqual([]);
    await expect(ask(server.url(), 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await server.start();
    expect(server.port).toBe(port);
    expect(await ask(server.url(), 'select answer from kept')).toBe(42);
  });

  test('answers nobody while it is paused, and everybody after', async () => {
    server.pause();
    const answer = ask(server.url(), 'select 7');
    answer.catch(() => {});
    await expect(Promise.race([answer, unanswered(200)])).resolves.toBe('nothing');
    server.resume();
    expect(await answer).toBe(7);
  });

  test('kill -9 also takes a server that is paused', async () => {
    server.pause();
    await server.kill();
    expect(server.pids()).toEqual([]);
    await server.start();
    expect(await ask(server.url(), 'select 1')).toBe(1);
  });

  test('goes back in time with a copy of its data folder, and a copy lives beside it', async () => {
    await ask(server.url(), 'create table before_backup as select 1');
    await expect(server.backup()).rejects.toThrow('shut the server down');
    await server.shutDown();
    const backup = await server.backup();
    await server.start();
    await ask(server.url(), 'create table after_backup as select 1');

    const twin = await startPostgres({ from: backup });
    expect(twin.port).not.toBe(server.port);
    expect(await ask(twin.url(), `select to_regclass('before_backup')::text`)).toBe('before_backup');
    expect(await ask(twin.url(), `select to_regclass('after_backup')::text`)).toBeNull();
    await twin.stop();

    await server.shutDown();
    await server.restore(backup);
    await server.start();
    expect(await ask(server.url(), `select to_regclass('after_backup')::text`)).toBeNull();
  });

  test('says the end of the log when it does not come up', async () => {
    await expect(startPostgres({ settings: { wal_level: 'nonsense' } })).rejects.toMatchObject({
      name: 'ServerError',
      log: expect.stringContaining('invalid value for parameter "wal_level"'),
    });
  });

  test('leaves neither process nor folder after stop', async () => {
    const { folder } = server;
    expect(existsSync(folder)).toBe(true);
    await server.stop();
    expect(server.pids()).toEqual([]);
    expect(existsSync(folder)).toBe(false);
    await server.stop();
  });
});

function unanswered(ms: number): Promise<string> {
  return new Promise((resolve) => setTimeout(resolve, ms, 'nothing'));
}
