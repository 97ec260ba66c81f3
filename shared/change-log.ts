/**
 * The change log as its followers read it: in pages after a position, never past a gap. ARCHITECTURE.md, "The publisher", says why none is
 * skipped. A follower keeps the position; nothing here is remembered in the database.
 */
import type pg from 'pg';
import { compareLsn, type Lsn, parseLsn } from './lsn.ts';

export type LoggedOp = 'read' | 'insert' | 'update' | 'delete';

/** A row as `to_jsonb` gives it. */
export type LoggedRow = Readonly<Record<string, unknown>>;

export interface Position {
  readonly lsn: Lsn;
  /** The change's place in its commit, from 0; `WHOLE_COMMIT`: all of them. */
  readonly seq: number;
}

/** The greatest integer of Postgres: no commit has so many changes. */
export const WHOLE_COMMIT = 2_147_483_647;

export const comparePositions = (a: Position, b: Position): number => compareLsn(a.lsn, b.lsn) || a.seq - b.seq;
export const afterCommit = (lsn: Lsn): Position => ({ lsn, seq: WHOLE_COMMIT });

export interface LoggedChange extends Position {
  readonly pool: string;
  readonly timeline: string;
  readonly op: LoggedOp;
  readonly username: string;
  readonly sub: string;
  readonly changed: readonly string[];
  readonly old: LoggedRow | null;
  readonly new: LoggedRow | null;
  readonly committedAt: Date;
  /** What it takes in memory, about: the length of both rows as text. */
  readonly bytes: number;
}

export interface Page {
  readonly changes: readonly LoggedChange[];
  /** Everything up to here has been read: where the next page begins. */
  readonly end: Position;
  /** Where the feed ended when the page was read; `end` is there too once everything has been read. */
  readonly feedEnd: Lsn;
  readonly timeline: string;
}

/**
 * Why a follower can't go on from where it is; its position is unchanged.
 * - `behind`: changes after it have left the log, or may have. `lsn` is the last one that has.
 * - `ahead`: the feed ends before it. `lsn` is the feed's end.
 * - `other-timeline`: the change at that position is another one now: the database was restored to an earlier state and went on from there.
 * - `no-slot`: the pool has no feed in this database.
 */
export class CannotFollow extends Error {
  override readonly name = 'CannotFollow';
  readonly reason: 'behind' | 'ahead' | 'other-timeline' | 'no-slot';
  readonly lsn: Lsn | null;
  constructor(reason: CannotFollow['reason'], message: string, lsn: Lsn | null) {
    super(message);
    this.reason = reason;
    this.lsn = lsn;
  }
}

export const noSlot = (pool: string): CannotFollow =>
  new CannotFollow(
    'no-slot',
    `pool ${pool} has no feed in this database: its writer has not started yet, or writes elsewhere`,
    null,
  );

export interface ReadOptions {
  /** Whether the rows of `read` changes are wanted too; they come as null otherwise. */
  readonly rowsOfReads: boolean;
  /** Most changes of a page. */
  readonly most?: number;
  /** Most bytes of a page, as text; one change always fits. */
  readonly mostBytes?: number;
}

export const PAGE_CHANGES = 500;
/** A row can be 140 KB, and a change holds two. */
const PAGE_BYTES = 4_194_304;

interface FeedRow {
  readonly timeline: string;
  readonly confirmed: string;
  readonly retention: string;
}

interface ChangeRow {
  readonly lsn: string;
  readonly seq: number;
  readonly changeTimeline: string;
  readonly op: LoggedOp;
  readonly username: string;
  readonly sub: string;
  readonly changed: string[];
  readonly old: string | null;
  readonly new: string | null;
  readonly committedAt: Date;
  readonly bytes: string;
}

const COLUMNS = `lsn, seq, timeline::text as "changeTimeline", op, username, sub, changed, committed_at as "committedAt"`;

/** One statement, so one snapshot: what the slot says of retention and end is true of these very changes. */
const PAGE = `
  with page as materialized (
    select ${COLUMNS}, case when op <> 'read' or $6 then old::text end as old, case when op <> 'read' or $6 then new::text end as new
    from cognito_feed.changes where pool = $1 and (lsn, seq) > ($2::bigint, $3::int) order by lsn, seq limit $4
  ), sized as (
    select page.*, coalesce(octet_length(old), 0) + coalesce(octet_length(new), 0) as bytes,
      sum(coalesce(octet_length(old), 0) + coalesce(octet_length(new), 0)) over (order by lsn, seq) as total,
      row_number() over (order by lsn, seq) as place, count(*) over () as found
    from page
  )
  select slot.timeline::text as timeline, slot.confirmed_lsn as confirmed, slot.retention_lsn as retention, sized.*
  from cognito_feed.slots slot left join sized on sized.place = 1 or sized.total <= $5
  where slot.pool = $1 order by sized.lsn, sized.seq`;

type PageRow = FeedRow & Partial<ChangeRow> & { readonly found?: string | null };

/** Reads one pool's log. Safe behind a transaction pooler: each page is a statement by itself. */
export class ChangeLogReader {
  readonly #postgres: pg.Pool;
  readonly #pool: string;
  /** The last change read, by which a restored database is known; null: none yet. */
  #anchor: (Position & { readonly timeline: string }) | null = null;
  #timeline: string | null = null;

  constructor(postgres: pg.Pool, pool: string) {
    this.#postgres = postgres;
    this.#pool = pool;
  }

  /**
   * Where a new follower begins: at the feed's end, or with the oldest change still kept.
   * @throws CannotFollow `no-slot`
   */
  async start(from: 'end' | 'oldest'): Promise<Position> {
    const { rows } = await this.#postgres.query<FeedRow>(
      'select timeline::text as timeline, confirmed_lsn as confirmed, retention_lsn as retention from cognito_feed.slots where pool = $1',
      [this.#pool],
    );
    const slot = this.#slot(rows[0]);
    return afterCommit(parseLsn(from === 'end' ? slot.confirmed : slot.retention));
  }

  /**
   * What follows a position, in order and without a gap; no changes where there is nothing new.
   * @throws CannotFollow
   */
  async read(
    after: Position,
    { rowsOfReads, most = PAGE_CHANGES, mostBytes = PAGE_BYTES }: ReadOptions,
  ): Promise<Page> {
    const { rows } = await this.#postgres.query<PageRow>(PAGE, [
      this.#pool,
      after.lsn,
      after.seq,
      most,
      mostBytes,
      rowsOfReads,
    ]);
    const slot = this.#slot(rows[0]);
    const feedEnd = parseLsn(slot.confirmed);
    this.#checkPosition(after, feedEnd, parseLsn(slot.retention));
    await this.#checkTimeline(slot.timeline, parseLsn(slot.retention));
    const changes = rows.flatMap((row) => (row.lsn == null ? [] : [this.#change(row as PageRow & ChangeRow)]));
    const last = changes.at(-1);
    if (last !== undefined) this.#anchor = { lsn: last.lsn, seq: last.seq, timeline: last.timeline };
    // A page that is not full has shown all there was: then the whole of the last commit has been read.
    const full = changes.length === most || changes.length < Number(rows[0]?.found ?? 0);
    const end = full && last !== undefined ? { lsn: last.lsn, seq: last.seq } : afterCommit(feedEnd);
    return { changes, end, feedEnd, timeline: slot.timeline };
  }

  /** One change by its position; null where the log doesn't hold it any more. */
  async at({ lsn, seq }: Position): Promise<LoggedChange | null> {
    const { rows } = await this.#postgres.query<ChangeRow>(
      `select ${COLUMNS}, old::text as old, new::text as new, coalesce(octet_length(old::text), 0) + coalesce(octet_length(new::text), 0) as bytes
       from cognito_feed.changes where pool = $1 and lsn = $2 and seq = $3`,
      [this.#pool, lsn, seq],
    );
    const [row] = rows;
    return row === undefined ? null : this.#change(row);
  }

  #slot<T extends FeedRow>(row: T | undefined): T {
    if (row !== undefined) return row;
    throw noSlot(this.#pool);
  }

  #checkPosition(after: Position, feedEnd: Lsn, retention: Lsn): void {
    if (compareLsn(after.lsn, feedEnd) > 0) {
      throw new CannotFollow(
        'ahead',
        `position ${after.lsn} is ahead of the feed of ${this.#pool}, which ends at ${feedEnd}: it belongs to another history`,
        feedEnd,
      );
    }
    if (retention > 0 && comparePositions(after, afterCommit(retention)) < 0) {
      throw new CannotFollow(
        'behind',
        `position ${after.lsn} is behind the retention of the feed of ${this.#pool}: changes up to ${retention} have left the log`,
        retention,
      );
    }
  }

  /** A new timeline continues above all LSNs that it knew of; only where the database went back may it give one a second time. */
  async #checkTimeline(timeline: string, retention: Lsn): Promise<void> {
    const anchor = this.#anchor;
    if (this.#timeline !== timeline && anchor !== null && compareLsn(anchor.lsn, retention) > 0) {
      const there = await this.at(anchor);
      if (there?.timeline !== anchor.timeline) {
        throw new CannotFollow(
          'other-timeline',
          `the feed of ${this.#pool} went back to before position ${anchor.lsn} and on from there, on another timeline: the database was restored`,
          null,
        );
      }
    }
    this.#timeline = timeline;
  }

  #change(row: ChangeRow): LoggedChange {
    const { seq, changeTimeline: timeline, op, username, sub, changed, committedAt } = row;
    const parse = (text: string | null) => (text === null ? null : (JSON.parse(text) as LoggedRow));
    return {
      pool: this.#pool,
      lsn: parseLsn(row.lsn),
      seq,
      timeline,
      op,
      username,
      sub,
      changed,
      old: parse(row.old),
      new: parse(row.new),
      committedAt,
      bytes: Number(row.bytes),
    };
  }
}

/** A change as `tail` prints it and an EventBridge event carries it, in this order of keys. */
export function changeDetail(change: LoggedChange, withRows: boolean): Readonly<Record<string, unknown>> {
  const { pool, timeline, lsn, seq, op, username, sub, changed, committedAt } = change;
  const rows = withRows ? { old: change.old, new: change.new } : {};
  return { pool, timeline, lsn, seq, op, username, sub, changed, ...rows, committedAt: committedAt.toISOString() };
}

/** Between two looks at a feed that stands still: doubling from the first to the most, so that a change is seen well within a second. */
export const IDLE_FIRST_MS = 50;
export const IDLE_MOST_MS = 500;
export const idleMs = (emptyPages: number): number =>
  Math.min(IDLE_MOST_MS, IDLE_FIRST_MS * 2 ** Math.min(emptyPages, 5));
