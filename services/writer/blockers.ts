/**
 * A waiter for the slot's lock looks who holds it. A session of the service's own role that sits idle inside its transaction, or waits for a client
 * that doesn't read, belongs to a process that was stopped (SIGSTOP, a frozen container): no time-out of its own would end it. Its backend is
 * ended, which rolls its transaction back. Anybody else, a slow but working batch among them, is waited for.
 */
import type pg from 'pg';

/** How long a waiter waits before it looks, and between two looks. */
export const LOOK_AFTER_MS = 5_000;
/** A session that has not moved for so long does not work. */
const STILL_MS = 4_000;

const ENDED = `
  select pid, pg_terminate_backend(pid) as ended from pg_stat_activity
  where pid = any($1::int[]) and usename = current_user and application_name like 'cognito-feed%' and pid <> pg_backend_pid()
    and state_change < clock_timestamp() - make_interval(secs => ${STILL_MS / 1000}::float8)
    and (state like 'idle in transaction%' or (state = 'active' and wait_event in ('ClientRead', 'ClientWrite')))`;

/** Ends those of the sessions that block `pid` which a stopped process left behind. Gives their pids. */
export async function endBlockersOf(pool: pg.Pool, pid: number): Promise<number[]> {
  const { rows } = await pool.query<{ blockers: number[] }>('select pg_blocking_pids($1) as blockers', [pid]);
  return await end(pool, rows[0]?.blockers ?? []);
}

/** The same for the holder of an advisory transaction lock. */
export async function endHoldersOf(pool: pg.Pool, lock: bigint): Promise<number[]> {
  const { rows } = await pool.query<{ pid: number }>(
    `select pid from pg_locks where locktype = 'advisory' and granted and objsubid = 1
       and database = (select oid from pg_database where datname = current_database())
       and (classid::int8 << 32 | objid::int8) = $1::int8`,
    [String(lock)],
  );
  return await end(
    pool,
    rows.map(({ pid }) => pid),
  );
}

async function end(pool: pg.Pool, pids: readonly number[]): Promise<number[]> {
  if (pids.length === 0) return [];
  const { rows } = await pool.query<{ pid: number; ended: boolean }>(ENDED, [pids]);
  return rows.filter(({ ended }) => ended).map(({ pid }) => pid);
}

/** Runs `work`, which waits for a lock in the session `pid`; while it waits, looks again and again who is in its way. */
export async function whileEndingBlockers<T>(
  pool: pg.Pool,
  pid: number,
  onEnded: (pids: readonly number[]) => void,
  work: () => Promise<T>,
): Promise<T> {
  const timer = setInterval(() => {
    endBlockersOf(pool, pid).then(
      (pids) => pids.length > 0 && onEnded(pids),
      () => undefined, // The wait itself will fail, or the next look succeed.
    );
  }, LOOK_AFTER_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
