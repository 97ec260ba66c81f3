/** The demo's eye on Postgres: the slot, and the change log from where it last looked. Knows nothing of what the feed keeps in memory. */
import type pg from 'pg';
import type { Redis } from '../../../shared/redis.ts';
import type { LoggedChange } from './under-way.ts';

export interface Look {
  readonly state: 'copying' | 'streaming';
  readonly users: number;
  readonly lsn: number;
  /** When the last applied complete scan began, by Redis's clock; null: none yet. */
  readonly asOf: number | null;
  /** Since the last look, in commit order. All that scans before `asOf` found is among them, or was before. */
  readonly changes: readonly LoggedChange[];
}

const MOST_CHANGES = 5_000;

export class Follower {
  readonly #postgres: pg.Pool;
  readonly #pool: string;
  #after: readonly [lsn: number, seq: number] = [0, 0];

  constructor(postgres: pg.Pool, pool: string) {
    this.#postgres = postgres;
    this.#pool = pool;
  }

  /** null: there is no slot yet. */
  async look(): Promise<Look | null> {
    // The slot first: what a keepalive vouches for is in the log before it.
    const { rows } = await this.#postgres.query<Omit<Look, 'changes'>>(
      `select state, users::float8 as users, confirmed_lsn::float8 as lsn, (extract(epoch from as_of) * 1000)::float8 as "asOf"
       from cognito_feed.slots where pool = $1`,
      [this.#pool],
    );
    const [slot] = rows;
    if (slot === undefined) return null;
    return { ...slot, changes: slot.state === 'copying' ? [] : await this.#changes() };
  }

  /** The initial copy's are left out: they are no news. */
  async #changes(): Promise<LoggedChange[]> {
    const { rows } = await this.#postgres.query<LoggedChange & { seq: number }>(
      `select lsn::float8 as lsn, seq, op, sub, changed, new, (extract(epoch from committed_at) * 1000)::float8 as "committedAt"
       from cognito_feed.changes where pool = $1 and (lsn, seq) > ($2, $3) and op <> 'read' order by lsn, seq limit ${MOST_CHANGES}`,
      [this.#pool, ...this.#after],
    );
    const last = rows.at(-1);
    if (last !== undefined) this.#after = [last.lsn, last.seq];
    return rows;
  }
}

/** By how much Postgres's clock is ahead of ours, milliseconds; as right as the way there is even. */
export async function postgresAhead(postgres: pg.Pool): Promise<number> {
  return await ahead(async () => {
    const { rows } = await postgres.query<{ now: number }>(
      'select (extract(epoch from clock_timestamp()) * 1000)::float8 as now',
    );
    return rows[0]?.now ?? Number.NaN;
  });
}

/** The same for Redis's. */
export async function redisAhead({ client }: Redis): Promise<number> {
  return await ahead(async () => {
    const [seconds, micros] = await client.time();
    return Number(seconds) * 1000 + Number(micros) / 1000;
  });
}

async function ahead(clock: () => Promise<number>): Promise<number> {
  await clock();
  const before = Date.now();
  const theirs = await clock();
  return theirs - (before + Date.now()) / 2;
}
