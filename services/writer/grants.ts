/**
 * Who may do what, by privileges alone. The three roles belong to the whole cluster and can't log in: an operator grants them to the roles
 * that do. Where one doesn't exist, nothing is granted to it.
 */
import pg from 'pg';
import { quoteIdentifier, quoteTable } from '../../shared/postgres.ts';
import type { TableName } from '../../shared/settings-values.ts';
import type { MigrateResult } from './migrate.ts';

export const WRITER = 'cognito_feed_writer';
export const READER = 'cognito_feed_reader';
export const PUBLISHER = 'cognito_feed_publisher';

/** @returns one line for each role made; one that another database's migrate makes at the same moment is as good */
export async function createRoles(client: pg.ClientBase): Promise<string[]> {
  const made: string[] = [];
  for (const role of [WRITER, READER, PUBLISHER]) {
    const { rowCount } = await client.query('select from pg_roles where rolname = $1', [role]);
    if (rowCount !== 0) continue;
    await client.query('savepoint role');
    try {
      await client.query(`create role ${quoteIdentifier(role)} nologin`);
      made.push(`role ${role}`);
    } catch (error) {
      // duplicate_object, or the unique index of pg_authid where two create it at the same moment
      if (!(error instanceof pg.DatabaseError) || (error.code !== '42710' && error.code !== '23505')) throw error;
      await client.query('rollback to savepoint role');
    }
    await client.query('release savepoint role');
  }
  return made;
}

interface Grant {
  readonly role: string;
  readonly kind: 'schema' | 'table' | 'database';
  /** Quoted. */
  readonly object: string;
  readonly privilege: string;
}

const ALL = ['select', 'insert', 'update', 'delete'];

/** What each role needs. The change log is never updated; a publisher never sees the mirror. */
function wanted(targets: readonly TableName[], database: string): Grant[] {
  const schemas = ['cognito_feed', ...new Set(targets.map(({ schema }) => quoteIdentifier(schema)))];
  const mirrors = targets.map(quoteTable);
  const tables = (role: string, privileges: readonly string[], ...objects: string[]): Grant[] =>
    objects.flatMap((object) => privileges.map((privilege): Grant => ({ role, kind: 'table', object, privilege })));
  const service = (names: string): string[] => names.split(' ').map((name) => `cognito_feed.${name}`);
  return [
    ...[WRITER, READER].flatMap((role) =>
      schemas.map((object): Grant => ({ role, kind: 'schema', object, privilege: 'usage' })),
    ),
    { role: PUBLISHER, kind: 'schema', object: 'cognito_feed', privilege: 'usage' },
    { role: WRITER, kind: 'database', object: database, privilege: 'temporary' },
    ...tables(WRITER, ALL, ...mirrors, ...service('slots tombstones held_deletes rejects')),
    ...tables(WRITER, ['select', 'insert', 'delete'], ...service('changes')),
    ...tables(WRITER, ['select'], ...service('subscriptions pending_deliveries dead_letters status migrations')),
    ...tables(READER, ['select'], ...mirrors, ...service('changes status migrations')),
    ...tables(PUBLISHER, ['select'], ...service('changes slots status migrations')),
    ...tables(PUBLISHER, ALL, ...service('subscriptions pending_deliveries dead_letters')),
  ];
}

/** Gives the roles that exist what they lack, takes writing from everyone at large, and says what it could not give. */
export async function assertGrants(client: pg.ClientBase, targets: readonly TableName[]): Promise<MigrateResult> {
  const { rows } = await client.query<{ database: string }>('select current_database() as database');
  const database = quoteIdentifier(rows[0]?.database ?? '');
  const grants = wanted(targets, database);
  const revoked = [await revokeWritesOfPublic(client, 'cognito_feed', null)];
  for (const { schema, name } of targets) revoked.push(await revokeWritesOfPublic(client, schema, name));

  const lacking = await missing(client, grants);
  for (const [text, role] of statements(lacking)) await attempt(client, `grant ${text} to ${quoteIdentifier(role)}`);
  const still = await missing(client, lacking);
  const warnings = statements(still).map(([text, role]) => `this role may not grant ${text} to ${role}`);
  const given = new Set(lacking.filter((grant) => !still.includes(grant)).map(({ role }) => role));
  return {
    applied: [...revoked.flatMap(({ applied }) => applied), ...[...given].map((role) => `privileges of ${role}`)],
    warnings: [...revoked.flatMap((result) => result.warnings), ...warnings],
  };
}

/** One for each role and object. */
function statements(grants: readonly Grant[]): [text: string, role: string][] {
  const groups = new Map<string, { role: string; on: string; privileges: string[] }>();
  for (const { role, kind, object, privilege } of grants) {
    const on = `${kind} ${object}`;
    const group = groups.get(`${role} ${on}`) ?? { role, on, privileges: [] };
    group.privileges.push(privilege);
    groups.set(`${role} ${on}`, group);
  }
  return [...groups.values()].map(({ role, on, privileges }) => [`${privileges.join(', ')} on ${on}`, role]);
}

/** The same objects, in the same order. */
async function missing(client: pg.ClientBase, grants: readonly Grant[]): Promise<Grant[]> {
  const { rows } = await client.query<{ place: number }>(
    `select g.place::int - 1 as place
     from jsonb_array_elements($1) with ordinality g (value, place)
     cross join lateral jsonb_to_record(g.value) need (role text, kind text, object text, privilege text)
     join pg_roles r on r.rolname = need.role
     where not case need.kind
       when 'table' then has_table_privilege(r.oid, to_regclass(need.object), need.privilege)
       when 'schema' then has_schema_privilege(r.oid, need.object::regnamespace, need.privilege)
       else has_database_privilege(r.oid, current_database(), need.privilege) end
     order by g.place`,
    [JSON.stringify(grants)],
  );
  return rows.flatMap(({ place }) => grants[place] ?? []);
}

/** A grant by somebody who may not give it is an error or only a warning, as it happens; what counts is what stands after it. */
async function attempt(client: pg.ClientBase, statement: string): Promise<void> {
  await client.query('savepoint granting');
  try {
    await client.query(statement);
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== '42501') throw error;
    await client.query('rollback to savepoint granting');
  }
  await client.query('release savepoint granting');
}

/** A schema's relations, or one of them. */
const RELATIONS = `select c.oid::regclass::text as relation, a.grantee, r.rolname as role, array_agg(distinct lower(a.privilege_type)) as privileges
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  cross join lateral aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
  where n.nspname = $1 and ($2::text is null or c.relname = $2) and c.relkind in ('r', 'v')
    and a.privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')`;

const revokeWritesOfPublic = (client: pg.ClientBase, schema: string, name: string | null): Promise<MigrateResult> =>
  revoke(client, `${RELATIONS} and a.grantee = 0 group by 1, 2, 3`, [schema, name]);

/** For a table just made: takes writing from everyone who has it by somebody's `alter default privileges` (Supabase's, for one). */
export async function revokeWrites(client: pg.ClientBase, { schema, name }: TableName): Promise<void> {
  const others = 'a.grantee <> c.relowner and (r.rolname is null or r.rolname <> all ($3))';
  await revoke(client, `${RELATIONS} and ${others} group by 1, 2, 3`, [schema, name, [WRITER, READER, PUBLISHER]]);
}

interface Writing {
  readonly relation: string;
  /** null: public. */
  readonly role: string | null;
  readonly privileges: readonly string[];
}

async function revoke(client: pg.ClientBase, query: string, values: unknown[]): Promise<MigrateResult> {
  const { rows: found } = await client.query<Writing>(query, values);
  if (found.length === 0) return { applied: [], warnings: [] };
  for (const { relation, role, privileges } of found) {
    const from = role === null ? 'public' : quoteIdentifier(role);
    await attempt(client, `revoke ${privileges.join(', ')} on ${relation} from ${from}`);
  }
  const { rows: left } = await client.query<Writing>(query, values);
  const kept = new Set(left.map(label));
  return {
    applied: found
      .map(label)
      .filter((line) => !kept.has(line))
      .map((line) => `no writing ${line}`),
    warnings: [...kept].map((line) => `this role may not take away writing ${line}`),
  };
}

const label = ({ relation, role }: Writing): string => `to ${relation} for ${role ?? 'public'}`;
