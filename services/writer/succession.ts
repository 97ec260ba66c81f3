/**
 * One relation takes another's name: what hangs on the old one, and what goes over to the new one: owner, grants, the names of indexes and
 * constraints. Postgres knows relations by number, so whatever depends on the old one goes on reading the old one, whatever its name is then.
 */
import type pg from 'pg';
import { quoteIdentifier, quoteTable } from '../../shared/postgres.ts';
import type { TableName } from '../../shared/settings-values.ts';
import { READER } from './grants.ts';

/** NAMEDATALEN - 1. */
const NAME_BYTES = 63;

/** `name` with an ending, shortened where Postgres would cut it. */
export function suffixed(name: string, ending: string): string {
  let kept = name;
  while (Buffer.byteLength(kept + ending) > NAME_BYTES) kept = kept.slice(0, -1);
  return kept + ending;
}

/**
 * What would go on reading this relation under another name: views, also those upon views, functions with SQL bodies or its row type, policies.
 * Foreign keys, triggers and publications are no readers.
 */
export async function readersOf(client: pg.ClientBase, relation: number): Promise<string[]> {
  const { rows } = await client.query<{ reader: string }>(
    `with recursive seen (relation) as (
       select $1::oid
       union
       select w.ev_class from seen
       join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = seen.relation and d.classid = 'pg_rewrite'::regclass
       join pg_rewrite w on w.oid = d.objid where w.ev_class <> seen.relation
     ), named as (
       select oid, array[reltype, (select typarray from pg_type t where t.oid = reltype)] as row_types from pg_class where oid = $1
     )
     select pg_describe_object('pg_class'::regclass, relation, 0) as reader from seen where relation <> $1
     union
     select pg_describe_object(d.classid, d.objid, d.objsubid) from named
     join pg_depend d on d.deptype = 'n' and d.classid in ('pg_proc'::regclass, 'pg_policy'::regclass, 'pg_class'::regclass, 'pg_type'::regclass)
       and (d.refclassid = 'pg_class'::regclass and d.refobjid = named.oid or d.refclassid = 'pg_type'::regclass and d.refobjid = any (named.row_types))
     order by 1`,
    [relation],
  );
  return rows.map(({ reader }) => reader);
}

/** Renames a table and, where they were named after it and the new name is free, its constraints and indexes. */
export async function renameTable(client: pg.ClientBase, from: TableName, name: string): Promise<void> {
  const to: TableName = { schema: from.schema, name };
  await client.query(`alter table ${quoteTable(from)} rename to ${quoteIdentifier(name)}`);
  const parts = async (query: string) =>
    (await client.query<{ part: string }>(query, [quoteTable(to), `${from.name}_`])).rows.flatMap(({ part }) => {
      const renamed = name + part.slice(from.name.length);
      return Buffer.byteLength(renamed) > NAME_BYTES ? [] : [[part, renamed] as const];
    });
  const constraints = await parts(
    `select conname::text as part from pg_constraint where conrelid = to_regclass($1) and starts_with(conname::text, $2)`,
  );
  for (const [part, renamed] of constraints) {
    if (await taken(client, { schema: to.schema, name: renamed })) continue;
    await client.query(
      `alter table ${quoteTable(to)} rename constraint ${quoteIdentifier(part)} to ${quoteIdentifier(renamed)}`,
    );
  }
  const indexes = await parts(
    `select c.relname::text as part from pg_index i join pg_class c on c.oid = i.indexrelid
     where i.indrelid = to_regclass($1) and starts_with(c.relname::text, $2)`,
  );
  for (const [part, renamed] of indexes) {
    if (await taken(client, { schema: to.schema, name: renamed })) continue;
    await client.query(
      `alter index ${quoteTable({ schema: to.schema, name: part })} rename to ${quoteIdentifier(renamed)}`,
    );
  }
}

const taken = async (client: pg.ClientBase, table: TableName): Promise<boolean> =>
  (await client.query('select where to_regclass($1) is not null', [quoteTable(table)])).rowCount !== 0;

interface Grant {
  /** null: public. */
  readonly role: string | null;
  readonly privilege: string;
  /** null: the whole table. */
  readonly column: string | null;
  readonly grantable: boolean;
}

/** Only the writer writes a mirror, and to a foreign table of Wrappers nobody can. */
const WRITES = new Set(['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']);
/**
 * Gives `heir` the owner of `old`, and the grants of `old` but those for writing: no more, no fewer. Left out are the roles that may write the
 * mirror, whichever of the two it is: whoever owned it until then goes on writing it.
 * @returns a line for each role that had been granted writing
 */
export async function inherit(
  client: pg.ClientBase,
  old: TableName,
  heir: TableName,
  heirIsMirror: boolean,
): Promise<string[]> {
  const table = quoteTable(heir);
  const [was, owner] = [await ownerOf(client, heir), await ownerOf(client, old)];
  if (was !== owner) {
    await client.query(`alter table ${table} owner to ${quoteIdentifier(owner)}`);
    if (heirIsMirror) await client.query(`grant select, insert, update, delete on ${table} to ${quoteIdentifier(was)}`);
  }
  const [has, wanted] = [await grantsOn(client, heir), await grantsOn(client, old)];
  const writers = new Set(
    (heirIsMirror ? has : wanted).filter(({ privilege }) => privilege === 'INSERT').map(({ role }) => role),
  );
  const passedOn = (grant: Grant) => !WRITES.has(grant.privilege) && !writers.has(grant.role);
  for (const grant of has.filter((one) => passedOn(one) && !holds(wanted, one))) {
    // What migrate grants the readers is the mirror's own.
    if (heirIsMirror && grant.role === READER) continue;
    await client.query(`revoke ${on(grant, table)} from ${named(grant)} cascade`);
  }
  for (const grant of wanted.filter((one) => passedOn(one) && !holds(has, one)))
    await client.query(`grant ${on(grant, table)} to ${named(grant)}${grant.grantable ? ' with grant option' : ''}`);
  if (!heirIsMirror) return [];
  const refused = wanted.filter(({ privilege, role }) => WRITES.has(privilege) && !writers.has(role));
  return [...new Set(refused.map(({ role }) => role ?? 'public'))].map(
    (role) => `no writing to ${heir.schema}.${heir.name} for ${role}: it had been granted on the foreign table`,
  );
}

const named = ({ role }: Grant): string => (role === null ? 'public' : quoteIdentifier(role));
const on = ({ privilege, column }: Grant, table: string): string =>
  `${privilege}${column === null ? '' : ` (${quoteIdentifier(column)})`} on ${table}`;
const holds = (grants: readonly Grant[], { role, privilege, column, grantable }: Grant): boolean =>
  grants.some(
    (it) =>
      it.role === role &&
      it.privilege === privilege &&
      it.column === column &&
      (it.grantable || it.grantable === grantable),
  );

async function ownerOf(client: pg.ClientBase, table: TableName): Promise<string> {
  const { rows } = await client.query<{ owner: string }>(
    'select pg_get_userbyid(relowner)::text as owner from pg_class where oid = to_regclass($1)',
    [quoteTable(table)],
  );
  return rows[0]?.owner ?? '';
}

/** Those of others than the owner. */
async function grantsOn(client: pg.ClientBase, table: TableName): Promise<Grant[]> {
  const { rows } = await client.query<Grant>(
    `select r.rolname::text as role, a.privilege_type as privilege, acl.name as column, bool_or(a.is_grantable) as grantable
     from pg_class c
     cross join lateral (select c.relacl as items, null::text as name
       union all select attacl, attname from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped) acl
     cross join lateral aclexplode(acl.items) a left join pg_roles r on r.oid = a.grantee
     where c.oid = to_regclass($1) and a.grantee <> c.relowner group by 1, 2, 3 order by 1, 2, 3`,
    [quoteTable(table)],
  );
  return rows;
}
