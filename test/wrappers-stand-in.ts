/**
 * What Supabase Wrappers and its Vault leave in a database, without either: a foreign data wrapper that has no handler holds the server's options,
 * and no row of its tables can be read; a view of plain rows stands in for the Vault's.
 */
import type pg from 'pg';

export const SERVER = 'cognito_server';
export const KEY_ID = 'AKIAFOREIGNSERVER000';
export const SECRET = 'foreign/secret+KEY00';

const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;

/** The wrapper is made where it isn't there. */
export async function createServer(
  postgres: pg.Pool,
  options: Readonly<Record<string, string>>,
  name = SERVER,
): Promise<void> {
  const { rowCount } = await postgres.query(`select from pg_foreign_data_wrapper where fdwname = 'cognito_wrapper'`);
  if (rowCount === 0) await postgres.query('create foreign data wrapper cognito_wrapper');
  const list = Object.entries(options).map(([option, value]) => `${option} ${quoted(value)}`);
  await postgres.query(
    `create server ${name} foreign data wrapper cognito_wrapper ${list.length === 0 ? '' : `options (${list.join(', ')})`}`,
  );
}

export async function createForeignTable(postgres: pg.Pool, table = 'cognito.users'): Promise<void> {
  await postgres.query(`create schema if not exists cognito`);
  await postgres.query(
    `create foreign table ${table} (username text, email text, status text, enabled boolean, created_at timestamp, updated_at timestamp,
       attributes jsonb) server ${SERVER} options (object 'users')`,
  );
}

/** @returns the id of the secret that was put there */
export async function createVault(postgres: pg.Pool, name: string, secret: string): Promise<string> {
  await postgres.query(`create schema vault;
    create table vault.secrets (id uuid primary key default gen_random_uuid(), name text unique, secret text);
    create view vault.decrypted_secrets as select id, name, secret as decrypted_secret from vault.secrets`);
  const { rows } = await postgres.query<{ id: string }>(
    'insert into vault.secrets (name, secret) values ($1, $2) returning id',
    [name, secret],
  );
  return rows[0]?.id ?? '';
}
