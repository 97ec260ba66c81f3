/** An audit of a user's own: triggers on the mirror, by row and by statement, that write down what they see. */
import { expect } from 'vitest';
import type { Feed } from './feed.ts';
import type { ComparableRow } from './rows.ts';
import { until } from './until.ts';

export interface Audited {
  /** The transaction. */
  readonly xid: string;
  readonly level: 'ROW' | 'STATEMENT';
  readonly op: 'INSERT' | 'UPDATE' | 'DELETE' | 'TRUNCATE';
  readonly old: unknown;
  readonly new: unknown;
}

export async function auditMirror({ postgres }: Feed): Promise<void> {
  await postgres.query(`
    create table public.audit (id bigint generated always as identity, xid text, level text, op text, old jsonb, new jsonb);
    create function public.audit() returns trigger language plpgsql as $$
      begin
        insert into public.audit (xid, level, op, old, new) values (pg_current_xact_id()::text, tg_level, tg_op,
          case when tg_level = 'ROW' and tg_op <> 'INSERT' then to_jsonb(old) end, case when tg_level = 'ROW' and tg_op <> 'DELETE' then to_jsonb(new) end);
        return null;
      end $$;
    create trigger audit_row after insert or update or delete on cognito.users for each row execute function public.audit();
    create trigger audit_statement after insert or update or delete or truncate on cognito.users for each statement execute function public.audit();
  `);
}

/** What the triggers have seen since they were last asked. */
export async function audited(feed: Feed): Promise<Audited[]> {
  return await feed.query<Audited>(
    `with gone as (delete from public.audit returning *) select xid, level, op, old, new from gone order by id`,
  );
}

/** A row as `to_jsonb` gives it. */
export function jsonOf(row: ComparableRow): unknown {
  const iso = (timestamp: string | null) => timestamp?.replace(' ', 'T').replace(/\.?0+$/, '') ?? null;
  return { ...row, created_at: iso(row.created_at), updated_at: iso(row.updated_at) };
}

/** The same things, each as often, in any order; says which are too many or too few. */
export function expectSameBag(actual: readonly unknown[], wanted: readonly unknown[]): void {
  const left = new Map<string, number>();
  for (const it of wanted) left.set(canonical(it), (left.get(canonical(it)) ?? 0) + 1);
  const unexpected: string[] = [];
  for (const it of actual) {
    const count = left.get(canonical(it)) ?? 0;
    if (count === 0) unexpected.push(canonical(it));
    else left.set(canonical(it), count - 1);
  }
  const missing = [...left].filter(([, count]) => count > 0).map(([text]) => text);
  expect({ unexpected: unexpected.slice(0, 5), missing: missing.slice(0, 5) }).toEqual({ unexpected: [], missing: [] });
}

/** With the keys of every object in one order: jsonb has its own. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, it: unknown) =>
    typeof it === 'object' && it !== null && !Array.isArray(it)
      ? Object.fromEntries(Object.entries(it).sort(([a], [b]) => (a < b ? -1 : 1)))
      : it,
  );
}

/** Rows written to the mirror and to the change log since they were made, by Postgres's own count. */
export async function rowsWritten(feed: Feed): Promise<unknown> {
  // A session's counts are certain to be there once it has ended.
  await until('the sessions of the service to end', async () => {
    const [sessions] = await feed.query<{ none: boolean }>(
      `select count(*) = 0 as none from pg_stat_activity where datname = current_database() and application_name like 'cognito-feed%'`,
    );
    return sessions?.none;
  });
  return await feed.query(
    `select relname, n_tup_ins::int, n_tup_upd::int, n_tup_del::int from pg_stat_user_tables
     where schemaname || '.' || relname in ('cognito.users', 'cognito_feed.changes') order by 1`,
  );
}
