/**
 * What the mirror is in Postgres: its columns, and what stands under its name now.
 */
import type pg from 'pg';
import type { TableName } from './settings-values.ts';

/** The seven columns in order, with their types as `format_type` gives them. */
export const MIRROR_COLUMNS = [
  ['username', 'text'],
  ['email', 'text'],
  ['status', 'text'],
  ['enabled', 'boolean'],
  ['created_at', 'timestamp without time zone'],
  ['updated_at', 'timestamp without time zone'],
  ['attributes', 'jsonb'],
] as const;

export type MirrorInspection =
  | { readonly found: 'nothing' }
  /** @property what says what it is, to stand after "schema.table is" or "schema.table" */
  | { readonly found: 'other'; readonly what: string; readonly foreign: boolean }
  | { readonly found: 'mirror'; readonly oid: number; readonly emailIndexed: boolean };

const KINDS: Readonly<Record<string, string>> = {
  f: 'a foreign table',
  v: 'a view',
  m: 'a materialized view',
  p: 'a partitioned table',
  S: 'a sequence',
  c: 'a composite type',
  i: 'an index',
  I: 'an index',
};

interface Found {
  readonly oid: string;
  readonly kind: string;
  readonly persistence: string;
  readonly columns: readonly { readonly name: string; readonly type: string; readonly generated: boolean }[];
  readonly keyed: boolean;
  readonly email_indexed: boolean;
}

/** Reads the catalog alone, which every role may. */
export async function inspectMirror(client: pg.ClientBase, table: TableName): Promise<MirrorInspection> {
  const { rows } = await client.query<Found>(
    `select c.oid::text, c.relkind::text as kind, c.relpersistence::text as persistence,
       coalesce((select jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                                                     'generated', a.attgenerated <> '' or a.attidentity = 'a') order by a.attnum)
                 from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]') as columns,
       exists (select from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
               where i.indrelid = c.oid and i.indisprimary and i.indimmediate and i.indnkeyatts = 1 and a.attname = 'username') as keyed,
       exists (select from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
               where i.indrelid = c.oid and i.indisvalid and i.indpred is null and a.attname = 'email') as email_indexed
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relname = $2`,
    [table.schema, table.name],
  );
  const relation = rows[0];
  if (relation === undefined) return { found: 'nothing' };
  const what = misfit(relation);
  if (what !== null) return { found: 'other', what, foreign: relation.kind === 'f' };
  return { found: 'mirror', oid: Number(relation.oid), emailIndexed: relation.email_indexed };
}

function misfit({ kind, persistence, columns, keyed }: Found): string | null {
  if (kind !== 'r') return `is ${KINDS[kind] ?? 'no table'}`;
  if (persistence !== 'p') return `is ${persistence === 'u' ? 'an unlogged' : 'a temporary'} table`;
  const wrong = columns.filter(
    ({ name, type }) => !MIRROR_COLUMNS.some((column) => column[0] === name && column[1] === type),
  );
  const missing = MIRROR_COLUMNS.filter(([name]) => !columns.some((column) => column.name === name));
  if (wrong.length > 0 || missing.length > 0) {
    const parts = [
      ...wrong.map(({ name, type }) => `has a column ${name} ${type}`),
      ...(missing.length > 0 ? [`lacks ${missing.map(([name]) => name).join(', ')}`] : []),
    ];
    return `is another table: it ${parts.join(', ')}`;
  }
  const generated = columns.find((column) => column.generated);
  if (generated !== undefined) return `is another table: its column ${generated.name} is generated`;
  if (!keyed) return 'is another table: its primary key is not username';
  return null;
}
