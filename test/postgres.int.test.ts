/** The door to Postgres: what a session is told, and what happens to a client whose connection or transaction is no good. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { classify } from '../shared/errors.ts';
import {
  closePostgres,
  connectPostgres,
  quoteIdentifier,
  quoteTable,
  transaction,
  withClient,
} from '../shared/postgres.ts';
import { connected, freshDatabase, thrownBy } from './fresh-database.ts';
import { startPostgres } from './servers/postgres.ts';

const SETTINGS = {
  TimeZone: 'UTC',
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  client_encoding: 'UTF8',
  bytea_output: 'hex',
  standard_conforming_strings: 'on',
  row_security: 'off',
  search_path: 'pg_catalog',
  idle_in_transaction_session_timeout: '10s',
  lock_timeout: '5s',
  statement_timeout: '1min',
} as const;

/** Each of them otherwise, as a database's own default. */
const OTHERWISE = {
  TimeZone: 'Asia/Tokyo',
  DateStyle: 'German',
  IntervalStyle: 'sql_standard',
  client_encoding: 'LATIN1',
  bytea_output: 'escape',
  standard_conforming_strings: 'off',
  row_security: 'on',
  search_path: 'public',
  idle_in_transaction_session_timeout: '0',
  lock_timeout: '0',
  statement_timeout: '0',
  default_transaction_isolation: 'serializable',
  synchronous_commit: 'off',
};

async function settingsOf(client: pg.ClientBase): Promise<Record<string, string>> {
  const { rows } = await client.query<{ name: string; value: string }>(
    'select name, current_setting(name) as value from unnest($1::text[]) name',
    [Object.keys(SETTINGS)],
  );
  return Object.fromEntries(rows.map(({ name, value }) => [name, value]));
}

const pidOf = async (client: pg.ClientBase): Promise<number> =>
  (await client.query('select pg_backend_pid() as pid')).rows[0].pid;

describe.each(['postgres15', 'postgres18'] as const)('%s', (server) => {
  test('every session means the same, whatever the database says', async () => {
    const pool = connected((await freshDatabase(inject(server), { settings: OTHERWISE })).url);
    expect(await withClient(pool, settingsOf)).toEqual(SETTINGS);
    const { rows } =
      await pool.query(`select '2024-02-01'::date::text as day, '2024-02-29 23:59:59.999'::timestamp as at, '\\x00ff'::bytea as bytes,
      'infinity'::timestamp as never, current_setting('synchronous_commit') as left_alone, current_setting('application_name') as name`);
    expect(rows[0]).toEqual({
      day: '2024-02-01',
      at: new Date('2024-02-29T23:59:59.999Z'),
      bytes: Buffer.from([0, 255]),
      never: Number.POSITIVE_INFINITY,
      left_alone: 'off',
      name: 'test',
    });
  });

  test('a transaction means the same even where a pooler gave it another session', async () => {
    const pool = connected((await freshDatabase(inject(server), { settings: OTHERWISE })).url, 1);
    await pool.query('reset all');
    expect(await withClient(pool, settingsOf)).not.toEqual(SETTINGS);
    expect(await transaction(pool, settingsOf)).toEqual(SETTINGS);
    const isolation = async (level?: 'repeatable read') =>
      transaction(
        pool,
        async (client) => (await client.query('show transaction_isolation')).rows[0].transaction_isolation,
        level,
      );
    expect([await isolation(), await isolation('repeatable read')]).toEqual(['read committed', 'repeatable read']);
  });

  test('a transaction commits what work did, or nothing of it, and the client serves on', async () => {
    const pool = connected((await freshDatabase(inject(server))).url, 1);
    const pid = await withClient(pool, pidOf);
    await pool.query('create table public.t (a int primary key)');
    const insert = (value: number, then?: (client: pg.ClientBase) => Promise<unknown>) =>
      transaction(pool, async (client) => {
        await client.query('insert into public.t values ($1)', [value]);
        await then?.(client);
        return value;
      });
    expect(await insert(1)).toBe(1);
    await expect(insert(1)).rejects.toMatchObject({ code: '23505' });
    await expect(insert(2, () => Promise.reject(new RangeError('ours')))).rejects.toThrow(RangeError);
    // A failed statement that nobody heard of: Postgres answers the commit with a rollback.
    await expect(insert(3, (client) => thrownBy(client.query('select 1/0')))).rejects.toThrow('its commit rolled back');
    expect((await pool.query('select a from public.t')).rows).toEqual([{ a: 1 }]);
    expect(await withClient(pool, pidOf)).toBe(pid);
  });

  test('a client whose session was ended is closed; nothing crashes; the next one is another', async () => {
    const { url } = await freshDatabase(inject(server));
    const lost: Error[] = [];
    const pool = connectPostgres({
      url,
      applicationName: 'test',
      max: 1,
      onConnectionLost: (error) => lost.push(error),
    });
    onTestFinished(() => closePostgres(pool));
    const admin = connected(url);
    const end = (pid: number) => admin.query('select pg_terminate_backend($1, 5000)', [pid]);

    const inTransaction = transaction(pool, async (client) => {
      await end(await pidOf(client));
      await client.query('select 1');
    });
    // 57P01 went to the client's `error` event; node-postgres only says that the client is no good any more.
    expect(classify(await thrownBy(inTransaction))).toMatchObject({ kind: 'postgres-connection', action: 'retry' });

    // Lent out, and nobody asks anything of it at that moment.
    const lent = await pool.connect();
    await end(await pidOf(lent));
    await expect.poll(() => thrownBy(lent.query('select 1'))).toBeInstanceOf(Error);
    lent.release(true);

    const idle = await withClient(pool, pidOf);
    await end(idle);
    await expect.poll(() => lost.length).toBe(1);
    expect(await withClient(pool, pidOf)).not.toBe(idle);
    expect(pool.totalCount).toBe(1);
  });

  test('withClient closes a client that is left inside a transaction', async () => {
    const pool = connected((await freshDatabase(inject(server))).url, 1);
    const first = await withClient(pool, pidOf);
    await expect(withClient(pool, (client) => client.query('select 1/0'))).rejects.toMatchObject({ code: '22012' });
    expect(await withClient(pool, pidOf)).toBe(first);
    await withClient(pool, (client) => client.query('begin'));
    expect(await withClient(pool, pidOf)).not.toBe(first);
  });
});

test('a server that stops answering ends the wait for it: connecting, rolling back, closing', async () => {
  const server = await startPostgres();
  onTestFinished(() => server.stop());
  const pool = connectPostgres({ url: `${server.url()}?connect_timeout=1`, applicationName: 'test', max: 2 });
  const begun = Date.now();
  const stopped = transaction(pool, async () => {
    server.pause();
    throw new Error('ours');
  });
  await expect(stopped).rejects.toThrow('ours');
  await expect(withClient(pool, pidOf)).rejects.toThrow(/timeout/);
  // One lent out, and never given back.
  server.resume();
  const lent = await pool.connect();
  server.pause();
  const query = thrownBy(lent.query('select 1'));
  await closePostgres(pool, 500);
  expect(await query).toBeInstanceOf(Error);
  expect(Date.now() - begun).toBeLessThan(15_000);
  server.resume();
});

test('a server that goes away under idle clients is no crash, and comes back', async () => {
  const server = await startPostgres();
  onTestFinished(() => server.stop());
  const lost: Error[] = [];
  const pool = connectPostgres({
    url: server.url(),
    applicationName: 'test',
    max: 3,
    onConnectionLost: (error) => lost.push(error),
  });
  onTestFinished(() => closePostgres(pool));
  await Promise.all(Array.from({ length: 3 }, () => pool.query('select pg_sleep(0.1)')));
  await server.kill();
  await expect.poll(() => lost.length).toBe(3);
  await expect(pool.query('select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await server.start();
  await sleep(0);
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
});

test('names are quoted, or refused where Postgres would cut them off', () => {
  expect(quoteTable({ schema: 'my "Schema', name: `Users'; drop table x` })).toBe(
    `"my ""Schema"."Users'; drop table x"`,
  );
  expect(quoteIdentifier('é'.repeat(31))).toBe(`"${'é'.repeat(31)}"`);
  for (const name of ['', 'é'.repeat(32), 'a'.repeat(64), 'a\u0000b'])
    expect(() => quoteIdentifier(name)).toThrow(RangeError);
});
