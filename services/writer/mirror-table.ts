/**
 * Making the mirror. Where it is there already only what is missing beside its columns is added.
 */
import type pg from 'pg';
import { MIRROR_COLUMNS, type MirrorInspection } from '../../shared/mirror.ts';
import { quoteIdentifier, quoteTable, type TimedQuery } from '../../shared/postgres.ts';
import type { TableName } from '../../shared/settings-values.ts';
import { revokeWrites } from './grants.ts';

/** An index over ten million rows takes minutes. */
const INDEX_TIMEOUT_MS = 3_600_000;

/** `create schema if not exists` asks for the right to create even where there is nothing to create. */
export async function createSchema(client: pg.ClientBase, schema: string): Promise<void> {
  const { rowCount } = await client.query('select from pg_namespace where nspname = $1', [schema]);
  if (rowCount === 0) await client.query(`create schema ${quoteIdentifier(schema)}`);
}

/**
 * The index on the e-mail is a hash: a B-tree refuses keys above 2,704 bytes (54000), and an e-mail of 2,048 characters outside ASCII, which
 * anyone who signs up may have, would hold up the feed. It serves `=`, `in` and joins, and is half as large.
 * Source: https://www.postgresql.org/docs/current/hash-index.html, btree.html#BTREE-LIMITS
 *
 * The room that fillfactor leaves keeps an update of anything but the e-mail out of the indexes (HOT).
 */
export async function createMirror(client: pg.ClientBase, target: TableName): Promise<string[]> {
  await createSchema(client, target.schema);
  const columns = MIRROR_COLUMNS.map(([name, type]) => `${name} ${type}${name === 'username' ? ' primary key' : ''}`);
  await client.query(`create table ${quoteTable(target)} (${columns.join(', ')}) with (fillfactor = 90)`);
  await client.query(`create index on ${quoteTable(target)} using hash (email)`);
  await revokeWrites(client, target);
  return [`table ${target.schema}.${target.name}`];
}

export async function completeMirror(
  client: pg.ClientBase,
  target: TableName,
  inspection: Extract<MirrorInspection, { found: 'mirror' }>,
): Promise<string[]> {
  if (inspection.emailIndexed) return [];
  const query: TimedQuery = {
    text: `create index on ${quoteTable(target)} using hash (email)`,
    query_timeout: INDEX_TIMEOUT_MS,
  };
  await client.query(query);
  return [`index on ${target.schema}.${target.name} (email)`];
}
