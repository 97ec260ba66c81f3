/**
 * What would betray a service later is looked for when it connects: the server's version, the database's encoding, migrations, and for the
 * writer the mirror itself.
 */
import pg from 'pg';
import { UserFacingError } from './errors.ts';
import { inspectMirror } from './mirror.ts';
import { SCHEMA_VERSION } from './schema-version.ts';
import type { TableName } from './settings-values.ts';

export const OLDEST_MAJOR = 15;
export const NEWEST_MAJOR = 18;

export interface ServerCheck {
  /** Postgres' server_version_num: 150018 is 15.18. */
  readonly version: number;
  /** One line each; worth a log line at warn. */
  readonly warnings: readonly string[];
}

/**
 * @param version server_version_num: 150018 is 15.18 (https://www.postgresql.org/docs/current/runtime-config-preset.html)
 * @returns a warning, or null
 * @throws UserFacingError for a server that is too old
 */
export function checkVersion(version: number): string | null {
  const major = Math.floor(version / 10_000);
  if (major < OLDEST_MAJOR) {
    throw new UserFacingError(`Postgres ${major} is too old: ${OLDEST_MAJOR} to ${NEWEST_MAJOR} are supported`);
  }
  return major > NEWEST_MAJOR
    ? `Postgres ${major} is newer than ${NEWEST_MAJOR}, the last one that this release was tested with`
    : null;
}

/**
 * Version and encoding: what every command that has a database asks first.
 * @throws UserFacingError where the server can't be used
 */
export async function checkServer(client: pg.ClientBase): Promise<ServerCheck> {
  const { rows } = await client.query<{ version: string; encoding: string; database: string }>(
    `select current_setting('server_version_num') as version, current_setting('server_encoding') as encoding, current_database() as database`,
  );
  const server = rows[0];
  if (server === undefined) throw new Error('Postgres did not say what it is');
  const version = Number(server.version);
  const warning = checkVersion(version);
  if (server.encoding !== 'UTF8') {
    throw new UserFacingError(
      `the database ${server.database} is encoded in ${server.encoding}: only UTF8 holds every user (create database … encoding 'UTF8')`,
    );
  }
  return { version, warnings: warning === null ? [] : [warning] };
}

/**
 * @throws UserFacingError where the migrations that this release needs are not there, or can't be seen by this role
 */
export async function checkMigrations(client: pg.ClientBase): Promise<void> {
  const applied = await appliedVersion(client);
  if (applied < SCHEMA_VERSION) {
    const state =
      applied === 0 ? 'has not been migrated' : `is at migration ${applied}, this release needs ${SCHEMA_VERSION}`;
    throw new UserFacingError(`the database ${state}: run cognito-feed migrate`);
  }
}

async function appliedVersion(client: pg.ClientBase): Promise<number> {
  try {
    const { rows } = await client.query<{ version: number | null }>(
      'select max(version) as version from cognito_feed.migrations',
    );
    return rows[0]?.version ?? 0;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    // undefined_table, invalid_schema_name; insufficient_privilege
    if (error.code === '42P01' || error.code === '3F000') return 0;
    if (error.code !== '42501') throw error;
    throw new UserFacingError(
      'this role may not read the schema cognito_feed: grant it cognito_feed_writer, cognito_feed_publisher or cognito_feed_reader (cognito-feed migrate --roles makes them)',
    );
  }
}

/** null: the mirror. */
const WRITER_NEEDS = [
  ['cognito_feed.slots', 'select, insert, update'],
  ['cognito_feed.changes', 'select, insert, delete'],
  ['cognito_feed.tombstones', 'select, insert, update, delete'],
  ['cognito_feed.held_deletes', 'select, insert, update, delete'],
  ['cognito_feed.rejects', 'select, insert, update, delete'],
  [null, 'select, insert, update, delete'],
] as const;

/**
 * Everything that the writer needs of one mirror: `checkServer`, `checkMigrations`, the mirror with its seven columns, privileges, and no
 * row level security that would hide rows. The publication's absence is only a warning: the mirror is none the worse for it.
 * @throws UserFacingError for the first thing that is wrong
 */
export async function checkWriterDatabase(
  client: pg.ClientBase,
  target: TableName,
  publication: string | null,
): Promise<ServerCheck> {
  const server = await checkServer(client);
  await checkMigrations(client);
  const label = `${target.schema}.${target.name}`;
  const mirror = await inspectMirror(client, target);
  if (mirror.found === 'nothing') throw new UserFacingError(`there is no table ${label}: run cognito-feed migrate`);
  if (mirror.found === 'other') throw new UserFacingError(`${label} ${mirror.what}; it can't be the mirror`);
  await checkPrivileges(client, mirror.oid, label);
  const warnings = [...server.warnings];
  if (publication !== null && !(await isPublished(client, publication, target))) {
    warnings.push(
      `the publication ${publication} does not hold ${label}: run cognito-feed migrate, or set PUBLICATION to nothing`,
    );
  }
  return { version: server.version, warnings };
}

async function checkPrivileges(client: pg.ClientBase, mirror: number, label: string): Promise<void> {
  const { rows } = await client.query<{ usable: boolean; hidden: boolean; lacking: string[]; temporary: boolean }>(
    `select has_schema_privilege(c.relnamespace, 'usage') as usable, row_security_active(c.oid) as hidden,
       array(select coalesce(relation, $3) || ': ' || privilege
             from jsonb_to_recordset($2) needs (relation text, privileges text), unnest(string_to_array(privileges, ', ')) privilege
             where not has_table_privilege(coalesce(relation::regclass::oid, c.oid), privilege)) as lacking,
       has_database_privilege(current_database(), 'temporary') as temporary
     from pg_class c where c.oid = $1`,
    [mirror, JSON.stringify(WRITER_NEEDS.map(([relation, privileges]) => ({ relation, privileges }))), label],
  );
  const found = rows[0];
  if (found === undefined) throw new Error('Postgres did not say what this role may do');
  if (!found.usable) throw new UserFacingError(`this role may not use the schema of ${label}: ${GRANT_WRITER}`);
  if (found.lacking.length > 0) {
    throw new UserFacingError(`this role lacks privileges (${found.lacking.join('; ')}): ${GRANT_WRITER}`);
  }
  if (!found.temporary)
    throw new UserFacingError('this role may not make temporary tables in this database: grant temporary on database');
  // A policy hides rows without an error, and a hidden row looks like a missing one.
  if (found.hidden) {
    throw new UserFacingError(
      `row level security of ${label} holds for this role and would hide rows from it: let the role own the table, or alter role … bypassrls`,
    );
  }
}

const GRANT_WRITER = 'grant it cognito_feed_writer (cognito-feed migrate --roles makes that role)';

/** Whether the publication has the table by name, by its schema or by being FOR ALL TABLES. */
export async function isPublished(
  client: pg.ClientBase,
  publication: string,
  { schema, name }: TableName,
): Promise<boolean> {
  const { rowCount } = await client.query(
    'select from pg_publication_tables where pubname = $1 and schemaname = $2 and tablename = $3',
    [publication, schema, name],
  );
  return rowCount === 1;
}
