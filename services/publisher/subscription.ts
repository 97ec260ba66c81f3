/**
 * A target's row in Postgres: position and lease, and the rows beside it. Every write is one autocommitted statement that counts only while the lease is
 * this holder's and the position is the one it wrote last; so a pooler may run each in another session, and whoever was paused moves nothing.
 */
import type pg from 'pg';
import { comparePositions, noSlot, type Position, WHOLE_COMMIT } from '../../shared/change-log.ts';
import { parseLsn } from '../../shared/lsn.ts';
import type { Checkpoint } from './backlog.ts';
import type { Delivery, PendingRow } from './delivery.ts';

export interface SubscriptionKey {
  readonly name: string;
  readonly pool: string;
}

/** The lease is somebody else's, or the row is not as it was left. Nothing was written; what is in memory no longer counts. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
}

/** @param holder of this process alone */
export class Subscription {
  readonly #postgres: pg.Pool;
  readonly #key: SubscriptionKey;
  readonly #holder: string;
  readonly #leaseMs: number;

  constructor(postgres: pg.Pool, key: SubscriptionKey, holder: string, leaseMs: number) {
    this.#postgres = postgres;
    this.#key = key;
    this.#holder = holder;
    this.#leaseMs = leaseMs;
  }

  /**
   * Takes the lease, and makes the row where there is none: a new target starts at the current LSN.
   * @returns null: another publisher delivers
   * @throws CannotFollow `no-slot`
   */
  async take(): Promise<Lease | null> {
    return (await this.#tryTake()) ?? ((await this.#create()) ? await this.#tryTake() : null);
  }

  async #tryTake(): Promise<Lease | null> {
    const { name, pool } = this.#key;
    const askedAt = performance.now();
    const { rows } = await this.#postgres.query<{ fence: string; lsn: string; seq: number }>(
      `update cognito_feed.subscriptions set holder = $3, fence = fence + 1, lease_until = clock_timestamp() + ${interval('$4')}
       where name = $1 and pool = $2 and (lease_until is null or lease_until < clock_timestamp() or holder = $3)
       returning fence, confirmed_lsn as lsn, confirmed_seq as seq`,
      [name, pool, this.#holder, this.#leaseMs],
    );
    const [row] = rows;
    if (row === undefined) return null;
    const position = { lsn: parseLsn(row.lsn), seq: row.seq };
    return new Lease(
      this.#postgres,
      this.#key,
      this.#holder,
      row.fence,
      position,
      this.#leaseMs,
      askedAt + this.#leaseMs,
    );
  }

  async #create(): Promise<boolean> {
    const { name, pool } = this.#key;
    const { rows } = await this.#postgres.query<{ made: boolean; feed: boolean }>(
      `with made as (
         insert into cognito_feed.subscriptions (name, pool, timeline, confirmed_lsn, confirmed_seq, confirmed_at)
         select $1, pool, timeline, confirmed_lsn, ${WHOLE_COMMIT}, clock_timestamp() from cognito_feed.slots where pool = $2
         on conflict do nothing returning name
       )
       select exists (select from made) as made, exists (select from cognito_feed.slots where pool = $2) as feed`,
      [name, pool],
    );
    if (rows[0]?.feed !== true) throw noSlot(pool);
    return rows[0].made;
  }
}

export class Lease {
  readonly #postgres: pg.Pool;
  readonly #owner: readonly [name: string, pool: string, holder: string, fence: string];
  readonly #leaseMs: number;
  #written: Position;
  #validUntil: number;

  constructor(
    postgres: pg.Pool,
    { name, pool }: SubscriptionKey,
    holder: string,
    fence: string,
    position: Position,
    leaseMs: number,
    validUntil: number,
  ) {
    this.#postgres = postgres;
    this.#owner = [name, pool, holder, fence];
    this.#written = position;
    this.#leaseMs = leaseMs;
    this.#validUntil = validUntil;
  }

  /** The one last written. */
  get position(): Position {
    return this.#written;
  }

  /** Whether nobody else can have taken it, by this machine's own clock; Postgres grants it later than we count from. */
  get valid(): boolean {
    return performance.now() < this.#validUntil;
  }

  /**
   * Writes a checkpoint, or nothing, and renews the lease.
   * @throws LeaseLost; what Postgres throws: then it may have been written or not, and the next call finds out
   */
  async write(checkpoint: Checkpoint | null): Promise<void> {
    const position = checkpoint?.position ?? this.#written;
    const { pending = [], gone = [], dead = [] } = checkpoint ?? {};
    const askedAt = performance.now();
    const { rows } = await this.#postgres.query<{ written: boolean }>(WRITE, [
      ...this.#owner,
      this.#leaseMs,
      this.#written.lsn,
      this.#written.seq,
      position.lsn,
      position.seq,
      JSON.stringify(pending.map(lineOf)),
      JSON.stringify(gone.map(lineOf)),
      JSON.stringify(dead.map(lineOf)),
    ]);
    if (rows[0]?.written !== true) throw new LeaseLost('the lease was taken over, or the row was changed');
    if (comparePositions(position, this.#written) !== 0) this.#written = position;
    this.#validUntil = askedAt + this.#leaseMs;
  }

  /** Pending deliveries that this holder hasn't got yet, the oldest first: an earlier holder's, and those put back by hand. */
  async claim(most: number): Promise<PendingRow[]> {
    const { rows } = await this.#postgres.query<ClaimedRow>(CLAIM, [...this.#owner, most]);
    return rows
      .map(({ lsn, seq, ...row }) => ({ ...row, position: { lsn: parseLsn(lsn), seq } }))
      .sort((a, b) => comparePositions(a.position, b.position));
  }

  /** At a graceful stop: the next one needs not wait. */
  async release(): Promise<void> {
    await this.#postgres.query(
      `update cognito_feed.subscriptions set holder = null, lease_until = null
       where name = $1 and pool = $2 and holder = $3 and fence = $4`,
      [...this.#owner],
    );
  }
}

type ClaimedRow = Omit<PendingRow, 'position'> & { readonly lsn: string; readonly seq: number };

const interval = (parameter: string) => `make_interval(secs => ${parameter}::float8 / 1000)`;
const time = (column: string) => `to_timestamp(${column} / 1000)`;
const millis = (column: string) => `(extract(epoch from ${column}) * 1000)::float8`;

/** A row as the statements read it, times in milliseconds. */
const lineOf = ({ position, timeline, username, sub, tries, firstTriedAt, nextTryAt, reason }: Delivery) => ({
  ...position,
  timeline,
  username,
  sub,
  tries,
  first: firstTriedAt,
  next: nextTryAt,
  reason,
});

const LINES = (parameter: string) =>
  `jsonb_to_recordset(${parameter}) line (lsn bigint, seq int, timeline uuid, username text, sub text, tries int, first float8, next float8, reason text)`;

/** All of it or nothing, and nothing without the lease. A position ahead of the feed would be a restored database's. */
const WRITE = `
  with fenced as (
    update cognito_feed.subscriptions set confirmed_lsn = $8, confirmed_seq = $9, lease_until = clock_timestamp() + ${interval('$5')},
      timeline = (select timeline from cognito_feed.slots where pool = $2),
      confirmed_at = case when (confirmed_lsn, confirmed_seq) = ($8, $9) then confirmed_at else clock_timestamp() end
    where name = $1 and pool = $2 and holder = $3 and fence = $4 and confirmed_lsn = $6 and confirmed_seq = $7
      and $8::bigint <= (select confirmed_lsn from cognito_feed.slots where pool = $2)
    returning name
  ), gone as (
    delete from cognito_feed.pending_deliveries owed using ${LINES('$11')}
    where exists (select from fenced) and owed.subscription = $1 and owed.pool = $2 and owed.lsn = line.lsn and owed.seq = line.seq
  ), owed as (
    insert into cognito_feed.pending_deliveries
      (subscription, pool, lsn, seq, timeline, username, sub, tries, first_tried_at, next_try_at, reason, claimed_by)
    select $1, $2, lsn, seq, timeline, username, sub, tries, ${time('first')}, ${time('next')}, reason, $4::bigint from ${LINES('$10')}
    where exists (select from fenced)
    on conflict (subscription, pool, lsn, seq) do update set tries = excluded.tries, first_tried_at = excluded.first_tried_at,
      next_try_at = excluded.next_try_at, reason = excluded.reason, claimed_by = excluded.claimed_by
  ), dead as (
    insert into cognito_feed.dead_letters (subscription, pool, lsn, seq, timeline, reason, tries, failed_at)
    select $1, $2, lsn, seq, timeline, coalesce(reason, ''), tries, clock_timestamp() from ${LINES('$12')} where exists (select from fenced)
    on conflict (subscription, pool, lsn, seq) do update set timeline = excluded.timeline, reason = excluded.reason, tries = excluded.tries,
      failed_at = excluded.failed_at
  )
  select exists (select from fenced) as written`;

const CLAIM = `
  update cognito_feed.pending_deliveries owed set claimed_by = $4
  from (
    select lsn, seq from cognito_feed.pending_deliveries
    where subscription = $1 and pool = $2 and claimed_by is distinct from $4::bigint
      and exists (select from cognito_feed.subscriptions where name = $1 and pool = $2 and holder = $3 and fence = $4)
    order by lsn, seq limit $5
  ) free
  where owed.subscription = $1 and owed.pool = $2 and owed.lsn = free.lsn and owed.seq = free.seq
  returning owed.lsn, owed.seq, owed.timeline::text as timeline, owed.username, owed.sub, owed.tries, owed.reason,
    ${millis('owed.first_tried_at')} as "firstTriedAt", ${millis('owed.next_try_at')} as "nextTryAt"`;
