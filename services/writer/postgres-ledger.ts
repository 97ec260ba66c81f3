/**
 * The ledger on a real Postgres: SQL on slot, tombstones, held deletes and rejects. The statements on the mirror are in mirror-sql.ts.
 */
import pg from 'pg';
import type { Change, ScanSummary } from '../../shared/change.ts';
import { usernameOf } from '../../shared/change.ts';
import { classify } from '../../shared/errors.ts';
import type { Fingerprint } from '../../shared/fingerprint.ts';
import { parseLsn } from '../../shared/lsn.ts';
import { quoteTable, SHORT_QUERY_MS, type TimedQuery, transaction } from '../../shared/postgres.ts';
import type { TableName } from '../../shared/settings-values.ts';
import { endHoldersOf, whileEndingBlockers } from './blockers.ts';
import type { Mirrored } from './decide.ts';
import {
  type Commit,
  type Ledger,
  type LedgerTransaction,
  type RebuildSource,
  RowRefused,
  type Slot,
  type Staged,
} from './ledger.ts';
import { mirrorRows, tombstones } from './mirror-reader.ts';
import { bury, change, log, mirrored, stage } from './mirror-sql.ts';

export interface PostgresLedgerOptions {
  readonly postgres: pg.Pool;
  readonly pool: string;
  readonly target: TableName;
  /** Whether the change log is written. */
  readonly changeLog: boolean;
  /** Told of sessions that were ended because a stopped process had left them holding a lock. */
  readonly onEnded: (pids: readonly number[]) => void;
  /** Whether a rebuild that another session began is still moving. */
  readonly rebuildMoves: () => Promise<boolean>;
}

const millis = (column: string) => `(extract(epoch from ${column}) * 1000)::float8`;
const at = (parameter: string) => `to_timestamp(${parameter}::float8 / 1000)`;

const SLOT = `timeline::text, state, confirmed_lsn as lsn, commit_id::text as commit, previous_commit_id::text as "previousCommit",
  ${millis('floor')} as floor, ${millis('as_of')} as "asOf", users::float8 as users, scan_replaced::float8 as "scanReplaced",
  resync_reason as "resyncReason", ${millis('resynced_at')} as "resyncedAt", last_batch as "lastBatch",
  (mirror_oid is distinct from to_regclass($2)::oid or mirror_filenode is distinct from pg_relation_filenode(to_regclass($2))) as "mirrorReplaced",
  not exists (select from pg_class c where c.oid = to_regclass($2) and c.relkind = 'r') as "mirrorMissing",
  exists (select from cognito_feed.rejects r where r.pool = slot.pool) as "anyRejects"`;

type SlotRow = Omit<Slot, 'lsn'> & {
  readonly lsn: string;
  readonly mirrorMissing: boolean;
  readonly anyRejects: boolean;
};

/** The mirror or its slot is not there. It comes back by itself after `migrate`; until then nothing can be applied. */
export class MirrorMissing extends Error {
  override readonly name = 'MirrorMissing';
}

function slotOf(row: SlotRow | undefined, target: string): Slot & { anyRejects: boolean } {
  if (row === undefined) throw new MirrorMissing(`there is no slot for ${target}: restart the writer`);
  if (row.mirrorMissing) throw new MirrorMissing(`${target} does not exist: run cognito-feed migrate`);
  return { ...row, lsn: parseLsn(row.lsn) };
}

export class PostgresLedger implements Ledger {
  readonly #options: PostgresLedgerOptions;
  readonly #mirror: string;

  constructor(options: PostgresLedgerOptions) {
    this.#options = options;
    this.#mirror = quoteTable(options.target);
  }

  async transaction<T>(work: (tx: LedgerTransaction) => Promise<T>): Promise<T> {
    const { postgres } = this.#options;
    try {
      return await transaction(postgres, async (client) => {
        const result = await work(new PostgresLedgerTransaction(client, this.#options, this.#mirror));
        // A user's own deferred constraints speak up here, where it can still be told which batch they mean.
        await client.query('set constraints all immediate');
        return result;
      });
    } catch (error) {
      const { action, what, subject } = classify(error);
      if (action === 'park' && error instanceof pg.DatabaseError) {
        throw new RowRefused(error.code ?? '', subject === '' ? what : `${what} (${subject})`, error);
      }
      throw error;
    }
  }

  async slot(): Promise<Slot> {
    const query: TimedQuery = {
      text: `select ${SLOT} from cognito_feed.slots slot where pool = $1`,
      values: [this.#options.pool, this.#mirror],
      query_timeout: SHORT_QUERY_MS,
    };
    const { rows } = await this.#options.postgres.query<SlotRow>(query);
    return slotOf(rows[0], this.#mirror);
  }

  async rebuild(work: (source: RebuildSource) => Promise<void>): Promise<boolean> {
    const { postgres, pool, onEnded, rebuildMoves } = this.#options;
    return await transaction(
      postgres,
      async (client) => {
        const lock = await client.query<{ key: string; taken: boolean }>(
          `select key::text, pg_try_advisory_xact_lock(key) as taken from (select hashtextextended('cognito-feed resync ' || $1, 0) as key) k`,
          [pool],
        );
        const { key = '0', taken = false } = lock.rows[0] ?? {};
        if (!taken) {
          if (!(await rebuildMoves())) {
            const ended = await endHoldersOf(postgres, BigInt(key));
            if (ended.length > 0) onEnded(ended);
          }
          return false;
        }
        const { rows } = await client.query<SlotRow>(`select ${SLOT} from cognito_feed.slots slot where pool = $1`, [
          pool,
          this.#mirror,
        ]);
        const slot = slotOf(rows[0], this.#mirror);
        await work({
          slot,
          rows: () => mirrorRows(client, this.#mirror),
          tombstones: () => tombstones(client, pool),
        });
        return true;
      },
      'repeatable read',
    );
  }
}

class PostgresLedgerTransaction implements LedgerTransaction {
  readonly #client: pg.PoolClient;
  readonly #options: PostgresLedgerOptions;
  readonly #mirror: string;
  #anyRejects = false;

  constructor(client: pg.PoolClient, options: PostgresLedgerOptions, mirror: string) {
    this.#client = client;
    this.#options = options;
    this.#mirror = mirror;
  }

  stage(staged: readonly Staged[]): Promise<void> {
    return stage(this.#client, staged);
  }

  async lock(): Promise<Slot> {
    const { postgres, pool, onEnded } = this.#options;
    const { rows: own } = await this.#client
      .query<{ pid: number }>(`set local lock_timeout = '30s'; select pg_backend_pid() as pid`)
      .then(last);
    const { rows } = await whileEndingBlockers(postgres, own[0]?.pid ?? 0, onEnded, () =>
      this.#client.query<SlotRow>(`select ${SLOT} from cognito_feed.slots slot where pool = $1 for update`, [
        pool,
        this.#mirror,
      ]),
    );
    const slot = slotOf(rows[0], this.#mirror);
    this.#anyRejects = slot.anyRejects;
    return slot;
  }

  mirrored(): Promise<Mirrored[]> {
    return mirrored(this.#client, this.#mirror);
  }

  async rejected(changes: readonly { sub: string; fingerprint: Fingerprint }[]): Promise<Set<string>> {
    if (!this.#anyRejects) return new Set();
    const { rows } = await this.#client.query<{ sub: string }>(
      `select r.sub from cognito_feed.rejects r join unnest($2::text[], $3::text[]) c (sub, fingerprint)
         on r.sub = c.sub and r.fingerprint = decode(c.fingerprint, 'hex') where r.pool = $1`,
      [this.#options.pool, changes.map(({ sub }) => sub), changes.map(({ fingerprint }) => fingerprint)],
    );
    return new Set(rows.map(({ sub }) => sub));
  }

  async write(commit: Commit): Promise<void> {
    const client = this.#client;
    const { pool, changeLog } = this.#options;
    const { plan } = commit;
    if (changeLog) await log(client, pool, this.#mirror, commit);
    await bury(client, pool, commit);
    await change(client, this.#mirror, commit);
    if (plan.settled.length > 0) {
      await this.#forget('held_deletes', plan.settled);
      if (this.#anyRejects) await this.#forget('rejects', plan.settled);
    }
    await client.query(
      `update cognito_feed.slots set confirmed_lsn = $2, previous_commit_id = commit_id, commit_id = $3, last_batch = $4,
         users = users + $5, scan_replaced = scan_replaced + $6 where pool = $1`,
      [pool, commit.lsn, commit.commit, commit.lastBatch, plan.inserts.length - plan.deletes.length, plan.replaced],
    );
  }

  async #forget(table: 'held_deletes' | 'rejects', subs: readonly string[]): Promise<void> {
    await this.#client.query(`delete from cognito_feed.${table} where pool = $1 and sub = any($2)`, [
      this.#options.pool,
      subs,
    ]);
  }

  async reject(refused: Change, sqlstate: string, reason: string, floor: number): Promise<void> {
    await this.#client.query(
      `insert into cognito_feed.rejects as r (pool, username, sub, sqlstate, reason, first_seen, last_seen, tries, fingerprint, seen_floor)
       values ($1, $2, $3, $4, $5, now(), now(), 1, decode($6, 'hex'), ${at('$7')})
       on conflict (pool, sub) do update set username = excluded.username, sqlstate = excluded.sqlstate, reason = excluded.reason,
         last_seen = now(), tries = r.tries + 1, fingerprint = excluded.fingerprint, seen_floor = excluded.seen_floor`,
      [
        this.#options.pool,
        usernameOf(refused),
        refused.sub,
        sqlstate,
        reason,
        refused.kind === 'upsert' ? refused.fingerprint : null,
        floor,
      ],
    );
  }

  async sawRejected(subs: readonly string[], floor: number): Promise<void> {
    await this.#client.query(
      `update cognito_feed.rejects set last_seen = now(), seen_floor = ${at('$3')} where pool = $1 and sub = any($2)`,
      [this.#options.pool, subs, floor],
    );
  }

  async hold(users: readonly { sub: string; username: string }[], reason: string, floor: number): Promise<void> {
    await this.#client.query(
      `insert into cognito_feed.held_deletes as h (pool, username, sub, held_at, reason, seen_at)
       select $1, u.username, u.sub, now(), $4, ${at('$5')} from unnest($2::text[], $3::text[]) u (username, sub)
       where not exists (select from cognito_feed.tombstones t where t.pool = $1 and t.sub = u.sub)
       on conflict (pool, sub) do update set reason = excluded.reason, seen_at = excluded.seen_at`,
      [this.#options.pool, users.map(({ username }) => username), users.map(({ sub }) => sub), reason, floor],
    );
  }

  async raiseFloor(floor: number): Promise<void> {
    await this.#client.query(
      `update cognito_feed.slots set floor = greatest(floor, ${at('$2')}), scan_replaced = 0 where pool = $1`,
      [this.#options.pool, floor],
    );
  }

  async keepalive(floor: number, { seconds, pages, users }: ScanSummary): Promise<void> {
    const { pool } = this.#options;
    await this.#client.query(
      `update cognito_feed.slots set as_of = greatest(as_of, ${at('$2')}), state = 'streaming', last_scan_at = ${at('$2')},
         last_scan_seconds = $3, last_scan_pages = $4, last_scan_users = $5, last_scan_complete = true where pool = $1`,
      [pool, floor, seconds, pages, users],
    );
    // What this scan no longer saw rejected, or saw again, is settled.
    for (const [table, seen] of [
      ['rejects', 'seen_floor'],
      ['held_deletes', 'seen_at'],
    ] as const) {
      await this.#client.query(`delete from cognito_feed.${table} where pool = $1 and ${seen} < ${at('$2')}`, [
        pool,
        floor,
      ]);
    }
    await this.#client.query(
      `delete from cognito_feed.tombstones where pool = $1 and deleted_at < now() - interval '1 hour'`,
      [pool],
    );
  }

  async newTimeline(timeline: string, commit: string, lsn: number, floor: number, reason: string): Promise<void> {
    await this.#client.query(
      `update cognito_feed.slots set timeline = $3, commit_id = $4, previous_commit_id = null, last_batch = null, confirmed_lsn = $5,
         floor = ${at('$6')}, resync_reason = $7, mirror_oid = to_regclass($2)::oid, mirror_filenode = pg_relation_filenode(to_regclass($2))
       where pool = $1`,
      [this.#options.pool, this.#mirror, timeline, commit, lsn, floor, reason],
    );
  }

  async resynced(users: number): Promise<void> {
    await this.#client.query(
      `update cognito_feed.slots set resync_reason = null, resynced_at = now(), users = $2::bigint,
         state = case when $2::bigint = 0 then 'copying' else state end where pool = $1`,
      [this.#options.pool, users],
    );
  }
}

/** A text of several statements gives a list of results; the last one's is wanted. */
function last<R extends pg.QueryResultRow>(result: pg.QueryResult<R> | pg.QueryResult<R>[]): pg.QueryResult<R> {
  const one = Array.isArray(result) ? result.at(-1) : result;
  if (one === undefined) throw new TypeError('no result');
  return one;
}
