/**
 * The publication through which any logical replication client follows the mirrors. The feed doesn't need it, so nothing here fails a
 * migration: what this role may not do becomes a warning.
 * Source: https://www.postgresql.org/docs/current/sql-createpublication.html, sql-alterpublication.html
 */
import pg from 'pg';
import { quoteIdentifier, quoteTable } from '../../shared/postgres.ts';
import { isPublished } from '../../shared/postgres-check.ts';
import type { TableName } from '../../shared/settings-values.ts';
import type { MigrateResult } from './migrate.ts';

/** Creates the publication, or puts back the mirrors that it has lost (a dropped table leaves it silently). */
export async function assertPublication(
  client: pg.ClientBase,
  publication: string,
  targets: readonly TableName[],
): Promise<MigrateResult> {
  const warnings = await checkWalLevel(client);
  const missing: TableName[] = [];
  for (const target of targets) if (!(await isPublished(client, publication, target))) missing.push(target);
  if (missing.length === 0) return { applied: [], warnings };
  const { rowCount } = await client.query('select from pg_publication where pubname = $1', [publication]);
  const tables = missing.map(quoteTable).join(', ');
  const name = quoteIdentifier(publication);
  const statement =
    rowCount === 0 ? `create publication ${name} for table ${tables}` : `alter publication ${name} add table ${tables}`;
  const refusal = await refused(client, statement);
  const labels = missing.map((table) => `${table.schema}.${table.name}`).join(', ');
  if (refusal === null) return { applied: [`publication ${publication}: ${labels}`], warnings };
  return {
    applied: [],
    warnings: [...warnings, `the publication ${publication} could not be given ${labels}: ${refusal}`],
  };
}

async function checkWalLevel(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ wal_level: string }>(`select current_setting('wal_level') as wal_level`);
  const level = rows[0]?.wal_level ?? 'unknown';
  return level === 'logical'
    ? []
    : [`wal_level is ${level}: the publication can be subscribed to once it is logical (and Postgres restarted)`];
}

/** Connection, resources, operator's intervention, a lost race: not the statement's fault. */
const NOT_THE_STATEMENT = new Set(['08', '40', '53', '57', '58', 'XX']);

/** Runs a statement that may fail alone. @returns Postgres' message where it was refused */
async function refused(client: pg.ClientBase, statement: string): Promise<string | null> {
  await client.query('savepoint publication');
  try {
    await client.query(statement);
    await client.query('release savepoint publication');
    return null;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || NOT_THE_STATEMENT.has(error.code?.slice(0, 2) ?? '')) throw error;
    await client.query('rollback to savepoint publication; release savepoint publication');
    return error.message;
  }
}
