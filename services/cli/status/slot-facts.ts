/**
 * What Postgres says of a mirror. The view `cognito_feed.status` is for every reader; slots and subscriptions are read where the role may.
 */
import type pg from 'pg';
import { type Lsn, parseLsn } from '../../../shared/lsn.ts';
import { quoteTable } from '../../../shared/postgres.ts';
import type { TableName } from '../../../shared/settings-values.ts';

export interface SlotFacts {
  readonly pool: string;
  /** As `schema.table`. */
  readonly target: string;
  readonly state: 'copying' | 'streaming';
  readonly asOf: Date | null;
  readonly stalenessSeconds: number | null;
  readonly users: number;
  readonly confirmedLsn: Lsn;
  /** The last scan that was complete and applied. */
  readonly lastScanAt: Date | null;
  readonly lastScanSeconds: number | null;
  readonly heldDeletes: number;
  readonly rejects: number;
  /** null: this role may not read the slots. */
  readonly history: SlotHistory | null;
  /** null: this role may not read the subscriptions. */
  readonly publishers: readonly Publisher[] | null;
}

/** What the snapshot must agree with. */
export interface SlotHistory {
  readonly timeline: string;
  readonly commit: string;
  readonly previousCommit: string | null;
  /** Set while a snapshot is owed. */
  readonly resyncReason: string | null;
  readonly mirror: 'there' | 'replaced' | 'missing';
  readonly lastScanPages: number | null;
  readonly lastScanUsers: number | null;
}

export interface Publisher {
  readonly name: string;
  /** Changes that it has not delivered yet. */
  readonly lagChanges: number;
}

type StatusRow = Omit<SlotFacts, 'confirmedLsn' | 'history' | 'publishers'> & { readonly confirmedLsn: string };

/**
 * @param pools null: every pool that has a slot here
 * @returns in the order of their ids
 */
export async function readSlots(client: pg.ClientBase, pools: readonly string[] | null): Promise<SlotFacts[]> {
  const { rows } = await client.query<StatusRow>(
    `select pool, target, state, as_of as "asOf", extract(epoch from staleness)::float8 as "stalenessSeconds", users::float8 as users,
       confirmed_lsn as "confirmedLsn", last_scan_at as "lastScanAt", last_scan_seconds as "lastScanSeconds",
       held_deletes::float8 as "heldDeletes", rejects::float8 as rejects
     from cognito_feed.status where $1::text[] is null or pool = any($1) order by pool`,
    [pools],
  );
  const allowed = await readable(client);
  const facts: SlotFacts[] = [];
  for (const row of rows) {
    facts.push({
      ...row,
      confirmedLsn: parseLsn(row.confirmedLsn),
      history: allowed.slots ? await history(client, row.pool, row.target) : null,
      publishers: allowed.subscriptions ? await publishers(client, row.pool) : null,
    });
  }
  return facts;
}

async function readable(client: pg.ClientBase): Promise<{ slots: boolean; subscriptions: boolean }> {
  const { rows } = await client.query<{ slots: boolean; subscriptions: boolean }>(
    `select has_table_privilege('cognito_feed.slots', 'select') as slots,
       has_table_privilege('cognito_feed.subscriptions', 'select') as subscriptions`,
  );
  return rows[0] ?? { slots: false, subscriptions: false };
}

async function history(client: pg.ClientBase, pool: string, target: string): Promise<SlotHistory | null> {
  const { rows } = await client.query<SlotHistory>(
    `select timeline::text, commit_id::text as commit, previous_commit_id::text as "previousCommit", resync_reason as "resyncReason",
       case when to_regclass($2) is null then 'missing'
            when mirror_oid is distinct from to_regclass($2)::oid
              or mirror_filenode is distinct from pg_relation_filenode(to_regclass($2)) then 'replaced'
            else 'there' end as mirror,
       last_scan_pages::float8 as "lastScanPages", last_scan_users::float8 as "lastScanUsers"
     from cognito_feed.slots where pool = $1`,
    [pool, quoteTable(tableName(target))],
  );
  return rows[0] ?? null;
}

/** `read` is not delivered, so it is no lag. What failed and is tried again stands apart: the position has passed it. */
async function publishers(client: pg.ClientBase, pool: string): Promise<Publisher[]> {
  const { rows } = await client.query<Publisher>(
    `select name, ((select count(*) from cognito_feed.changes c
                    where c.pool = s.pool and (c.lsn, c.seq) > (s.confirmed_lsn, s.confirmed_seq) and c.op <> 'read')
                   + (select count(*) from cognito_feed.pending_deliveries p where p.subscription = s.name and p.pool = s.pool))::float8
                   as "lagChanges"
     from cognito_feed.subscriptions s where pool = $1 order by name`,
    [pool],
  );
  return rows;
}

/** Of `slots.target`, whose first dot ends the schema. */
export function tableName(target: string): TableName {
  const dot = target.indexOf('.');
  return { schema: target.slice(0, dot), name: target.slice(dot + 1) };
}
