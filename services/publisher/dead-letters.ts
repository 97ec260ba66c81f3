/** What was given up, for operators: listed, and put back among the pending deliveries, from where whichever publisher runs next takes it. */
import type pg from 'pg';
import { type Lsn, parseLsn } from '../../shared/lsn.ts';

export interface DeadLetter {
  readonly id: string;
  readonly subscription: string;
  readonly pool: string;
  readonly lsn: Lsn;
  readonly seq: number;
  readonly reason: string;
  readonly tries: number;
  readonly failedAt: Date;
  /** Whether the change log still holds the change: else it can't be delivered again. */
  readonly kept: boolean;
}

/**
 * - `unknown`: there is no such dead letter (any more).
 * - `gone`: its change has left the change log; the dead letter stays.
 * - `no-target`: the row of its target in `subscriptions` was deleted; the dead letter stays.
 */
export type Redelivery = 'queued' | 'unknown' | 'gone' | 'no-target';

interface Row extends Omit<DeadLetter, 'lsn'> {
  readonly lsn: string;
}

const PAGE = 1_000;

/** The oldest first, a thousand at a time. @param pools null: of all pools */
export async function* deadLetters(postgres: pg.Pool, pools: readonly string[] | null): AsyncGenerator<DeadLetter[]> {
  for (let after = '0'; ; ) {
    const { rows } = await postgres.query<Row>(
      `select letter.id::text as id, letter.subscription, letter.pool, letter.lsn, letter.seq, letter.reason, letter.tries, letter.failed_at as "failedAt",
         exists (select from cognito_feed.changes change where (change.pool, change.lsn, change.seq) = (letter.pool, letter.lsn, letter.seq)
           and change.timeline = coalesce(letter.timeline, change.timeline)) as kept
       from cognito_feed.dead_letters letter where letter.id > $1::bigint and ($2::text[] is null or letter.pool = any($2))
       order by letter.id limit ${PAGE}`,
      [after, pools],
    );
    if (rows.length > 0) yield rows.map((row) => ({ ...row, lsn: parseLsn(row.lsn) }));
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) return;
    after = last.id;
  }
}

/**
 * Makes a dead letter a pending delivery with no tries behind it, in one statement. It is sent with the id it had; changes of the same user that were
 * delivered since are not sent again, so it may arrive after later ones.
 */
export async function redeliver(postgres: pg.Pool, id: string, pools: readonly string[] | null): Promise<Redelivery> {
  const { rows } = await postgres.query<{ known: boolean; subscribed: boolean; queued: boolean }>(
    `with letter as (
       select * from cognito_feed.dead_letters where id = $1::bigint and ($2::text[] is null or pool = any($2)) for update
     ), queued as (
       insert into cognito_feed.pending_deliveries (subscription, pool, lsn, seq, timeline, username, sub)
       select letter.subscription, change.pool, change.lsn, change.seq, change.timeline, change.username, change.sub
       from letter join cognito_feed.changes change on (change.pool, change.lsn, change.seq) = (letter.pool, letter.lsn, letter.seq)
         and change.timeline = coalesce(letter.timeline, change.timeline)
       join cognito_feed.subscriptions target on (target.name, target.pool) = (letter.subscription, letter.pool)
       on conflict do nothing returning lsn
     ), gone as (
       delete from cognito_feed.dead_letters dead using letter where dead.id = letter.id and exists (select from queued)
     )
     select exists (select from letter) as known,
       exists (select from letter join cognito_feed.subscriptions on (name, subscriptions.pool) = (subscription, letter.pool)) as subscribed,
       exists (select from queued) as queued`,
    [id, pools],
  );
  const [found] = rows;
  if (found?.queued) return 'queued';
  if (!found?.known) return 'unknown';
  return found.subscribed ? 'gone' : 'no-target';
}
