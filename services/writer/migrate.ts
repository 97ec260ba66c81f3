/**
 * Brings a database to what this release needs: the service's own schema by numbered SQL files, forward only; the mirrors, publication and
 * privileges by comparing what is there with what should be. One transaction under an advisory lock: all of it or nothing, and any number of
 * processes may start it at once. A second run finds nothing to do.
 */
import { readdirSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { UserFacingError } from '../../shared/errors.ts';
import { inspectMirror, type MirrorInspection } from '../../shared/mirror.ts';
import { type TimedQuery, transaction } from '../../shared/postgres.ts';
import { checkServer } from '../../shared/postgres-check.ts';
import type { TableName } from '../../shared/settings-values.ts';
import { assertGrants, createRoles, revokeWrites } from './grants.ts';
import { completeMirror, createMirror, createSchema } from './mirror-table.ts';
import { assertPublication } from './publication.ts';

export interface MigrateOptions {
  readonly targets: readonly TableName[];
  /** null: none. */
  readonly publication: string | null;
  /** Whether the three roles are made too; they belong to the whole cluster. */
  readonly roles: boolean;
}

/** One plain line each. */
export interface MigrateResult {
  readonly applied: readonly string[];
  readonly warnings: readonly string[];
}

export interface Migration {
  readonly version: number;
  /** The file's name without its ending: `001-feed`. */
  readonly name: string;
  readonly sql: string;
}

/** The migrations' folder beside this file: in a checkout services/writer/migrations, in a build its copy in dist. */
const FOLDER = new URL('migrations/', import.meta.url);

/** Any number but one that something else in the same database uses: "cogn" "migr" in ASCII. */
const LOCK = [0x636f676e, 0x6d696772] as const;
const LOCK_WAIT_MS = 60_000;
/** Longer than any waiting statement of a running release holds its locks. */
const DDL_LOCK_TIMEOUT_MS = 15_000;

/**
 * In the order of their numbers, which begin at 1 and leave none out.
 * @throws Error where the folder was not copied beside the code
 */
export function loadMigrations(folder: URL = FOLDER): Migration[] {
  const files = readdirSync(folder).filter((file) => file.endsWith('.sql'));
  const migrations = files.map((file) => ({
    version: Number(/^(\d{3})-[a-z0-9-]+\.sql$/.exec(file)?.[1] ?? Number.NaN),
    name: file.replace(/\.sql$/, ''),
    sql: readFileSync(new URL(file, folder), 'utf8'),
  }));
  migrations.sort((a, b) => a.version - b.version);
  if (migrations.length === 0 || !migrations.every(({ version }, index) => version === index + 1)) {
    throw new Error(`the SQL files in ${folder.pathname} are not numbered 001, 002, …`);
  }
  return migrations;
}

/**
 * @param pool of a role that may create schemas in the database
 * @param migrations only a test of upgrades gives fewer
 * @throws UserFacingError in one line, with nothing changed: a server, an encoding or a relation in the mirror's place that can't be used, a
 *   missing privilege, a lock that another session keeps
 */
export async function migrate(
  pool: pg.Pool,
  { targets, publication, roles }: MigrateOptions,
  migrations: readonly Migration[] = loadMigrations(),
): Promise<MigrateResult> {
  try {
    return await transaction(pool, async (client) => {
      await takeLock(client);
      const { warnings } = await checkServer(client);
      const mirrors = await inspectAll(client, targets);
      const applied: string[] = roles ? await createRoles(client) : [];
      applied.push(...(await applyMigrations(client, migrations)));
      for (const { target, inspection } of mirrors) {
        applied.push(
          ...(inspection.found === 'nothing'
            ? await createMirror(client, target)
            : await completeMirror(client, target, inspection)),
        );
      }
      const published = publication === null ? NOTHING : await assertPublication(client, publication, targets);
      const granted = await assertGrants(client, targets);
      return {
        applied: [...applied, ...published.applied, ...granted.applied],
        warnings: [...warnings, ...published.warnings, ...granted.warnings],
      };
    });
  } catch (error) {
    throw plain(error);
  }
}

const NOTHING: MigrateResult = { applied: [], warnings: [] };

/** One migration of a database at a time. */
export async function takeLock(client: pg.ClientBase): Promise<void> {
  // Building an index over a mirror that was there may take its time.
  await client.query(`set local statement_timeout = 0; set local lock_timeout = ${LOCK_WAIT_MS}`);
  const query: TimedQuery = {
    text: 'select pg_advisory_xact_lock($1, $2)',
    values: [...LOCK],
    query_timeout: LOCK_WAIT_MS + 5_000,
  };
  await client.query(query);
  await client.query(`set local lock_timeout = ${DDL_LOCK_TIMEOUT_MS}`);
}

interface Inspected {
  readonly target: TableName;
  readonly inspection: Exclude<MirrorInspection, { found: 'other' }>;
}

async function inspectAll(client: pg.ClientBase, targets: readonly TableName[]): Promise<Inspected[]> {
  const inspected: Inspected[] = [];
  for (const target of targets) {
    const inspection = await inspectMirror(client, target);
    if (inspection.found === 'other') {
      const way = inspection.foreign
        ? 'migrate --replace-foreign-table puts the mirror in its place'
        : 'rename or drop it';
      throw new UserFacingError(
        `${target.schema}.${target.name} ${inspection.what}. Nothing was changed: ${way}, or set TARGET_TABLE to another name`,
      );
    }
    inspected.push({ target, inspection });
  }
  return inspected;
}

async function applyMigrations(client: pg.ClientBase, migrations: readonly Migration[]): Promise<string[]> {
  await createSchema(client, 'cognito_feed');
  const before = await serviceRelations(client);
  // Where it is there already, `if not exists` would still ask for the right to make it.
  if (!before.includes('migrations')) {
    await client.query(`create table cognito_feed.migrations (
      version integer primary key, name text not null, applied_at timestamptz not null default now())`);
  }
  const { rows } = await client.query<{ version: number }>('select version from cognito_feed.migrations');
  const done = new Set(rows.map(({ version }) => version));
  const applied: string[] = [];
  for (const { version, name, sql } of migrations) {
    if (done.has(version)) continue;
    await client.query(sql);
    await client.query('insert into cognito_feed.migrations (version, name) values ($1, $2)', [version, name]);
    applied.push(`migration ${name}`);
  }
  for (const name of await serviceRelations(client)) {
    if (!before.includes(name)) await revokeWrites(client, { schema: 'cognito_feed', name });
  }
  return applied;
}

async function serviceRelations(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'cognito_feed'::regnamespace and relkind in ('r', 'v')`,
  );
  return rows.map(({ name }) => name);
}

/** insufficient_privilege and lock_not_available are the operator's to settle; they need no stack. */
function plain(error: unknown): unknown {
  if (!(error instanceof pg.DatabaseError)) return error;
  if (error.code === '42501') {
    return new UserFacingError(`this role may not migrate the database: ${error.message}. Nothing was changed`);
  }
  if (error.code === '55P03') {
    return new UserFacingError('another session holds a lock that migrate needs. Nothing was changed: run it again');
  }
  return error;
}
