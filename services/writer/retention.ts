/**
 * CHANGE_RETENTION: the low end of the change log is deleted in small chunks of whole commits, each in a transaction of its own that moves the
 * slot's `retention_lsn` too. A reader sees both or neither, so none can miss a change without being told.
 *
 * Who is in whose way: a chunk deletes rows that no batch touches, and takes the slot's lock only for the last statement before its commit, about
 * a millisecond. Two writers that prune at once take turns by an advisory lock; the second one leaves it to the first.
 * If the process dies, Postgres rolls the chunk back; the next `prune` goes on there.
 */
import type pg from 'pg';
import { LSN_ZERO, type Lsn, parseLsn } from '../../shared/lsn.ts';
import { transaction } from '../../shared/postgres.ts';

/** Changes of a chunk: about 50 ms of work. */
const CHUNK_CHANGES = 5_000;
/** Chunks of one call: half a million changes. What is left, the next call finds. */
const MOST_CHUNKS = 100;

export interface PruneOptions {
  readonly chunkChanges?: number;
  readonly mostChunks?: number;
  readonly signal?: AbortSignal;
}

export interface Pruned {
  readonly changes: number;
  /** Changes up to this LSN are gone; null: nothing was deleted. */
  readonly lsn: Lsn | null;
}

/**
 * Deletes what was committed more than `olderThanMs` ago. To be called now and then (every minute, after keepalives): with nothing to delete it is
 * one index look-up. Safe beside other writers.
 * @throws what Postgres throws; what has been deleted until then stays deleted
 */
export async function prune(
  postgres: pg.Pool,
  pool: string,
  olderThanMs: number,
  { chunkChanges = CHUNK_CHANGES, mostChunks = MOST_CHUNKS, signal }: PruneOptions = {},
): Promise<Pruned> {
  let changes = 0;
  let lsn: Lsn | null = null;
  for (let chunk = 0; chunk < mostChunks && signal?.aborted !== true; chunk++) {
    const upTo = await chunkEnd(postgres, pool, olderThanMs, chunkChanges);
    if (upTo === null) break;
    const deleted = await deleteChunk(postgres, pool, upTo);
    if (deleted === null) break;
    changes += deleted;
    lsn = upTo;
  }
  return { changes, lsn };
}

/**
 * The last of the commits at the low end that are old enough, as many as have `most` changes together but always one.
 * A commit's changes lie side by side in the primary key; the last one within the limit may be cut by it, and is left for the next chunk.
 */
async function chunkEnd(postgres: pg.Pool, pool: string, olderThanMs: number, most: number): Promise<Lsn | null> {
  const { rows } = await postgres.query<{ lsn: string | null }>(
    `with low as (
       select lsn, committed_at from cognito_feed.changes where pool = $1 order by lsn, seq limit $3
     ), commits as (
       select lsn, bool_and(committed_at < clock_timestamp() - make_interval(secs => $2::float8 / 1000)) as old,
         row_number() over (order by lsn) as place, row_number() over (order by lsn desc) = 1 and sum(count(*)) over () = $3 as cut
       from low group by lsn
     )
     select max(c.lsn) as lsn from commits c
     where (not c.cut or c.place = 1) and not exists (select from commits young where not young.old and young.lsn <= c.lsn)`,
    [pool, olderThanMs, most],
  );
  const lsn = rows[0]?.lsn ?? null;
  return lsn === null ? null : parseLsn(lsn);
}

/** @returns null where another writer is at it */
async function deleteChunk(postgres: pg.Pool, pool: string, upTo: Lsn): Promise<number | null> {
  return await transaction(postgres, async (client) => {
    const lock = await client.query<{ taken: boolean }>(
      `select pg_try_advisory_xact_lock(hashtextextended('cognito-feed retention ' || $1, 0)) as taken`,
      [pool],
    );
    if (lock.rows[0]?.taken !== true) return null;
    const { rowCount } = await client.query(
      'delete from cognito_feed.changes where pool = $1 and lsn between $2 and $3',
      [pool, LSN_ZERO, upTo],
    );
    await client.query('update cognito_feed.slots set retention_lsn = greatest(retention_lsn, $2) where pool = $1', [
      pool,
      upTo,
    ]);
    return rowCount ?? 0;
  });
}
