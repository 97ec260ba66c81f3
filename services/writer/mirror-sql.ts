/**
 * The statements that a batch is applied by. All of them run inside one transaction, those after `stage` under the slot's lock.
 *
 * Plans are pinned: the staging table has no statistics, and an unpinned join with it turns into a hash join over the whole mirror. So hash and
 * merge joins are off for the transaction, and what is staged is picked by `n = any(…)`, which Postgres hashes since 14.
 */
import { finished } from 'node:stream/promises';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { chunks, copyRow, copyUsername } from './copy.ts';
import type { Mirrored } from './decide.ts';
import type { Commit, Staged } from './ledger.ts';

const STAGING = 'pg_temp.cognito_feed_staging';
const COLUMNS = 'username, email, status, enabled, created_at, updated_at, attributes';

export async function stage(client: pg.ClientBase, staged: readonly Staged[]): Promise<void> {
  await client.query(`set local enable_hashjoin = off; set local enable_mergejoin = off;
    create temporary table cognito_feed_staging (n int not null, username text not null, email text, status text, enabled boolean,
      created_at timestamp, updated_at timestamp, attributes jsonb) on commit drop`);
  const stream = client.query(copyFrom(`copy ${STAGING} from stdin`));
  // `finished` listens before the first write: an error that comes early finds somebody.
  const done = finished(stream);
  done.catch(() => undefined);
  for (const chunk of chunks(lines(staged))) {
    if (stream.destroyed || stream.errored) break;
    if (!stream.write(chunk)) await Promise.race([done, new Promise((resolve) => stream.once('drain', resolve))]);
  }
  stream.end();
  await done;
}

function* lines(staged: readonly Staged[]): Generator<string> {
  for (const { n, change, username } of staged) {
    yield change?.kind === 'upsert' ? copyRow(n, change.row) : copyUsername(n, username);
  }
}

/** Milliseconds, exact to the microsecond; infinities stay what they are. */
const MILLIS = (column: string) => `(extract(epoch from ${column}) * 1000)::float8`;

export async function mirrored(client: pg.ClientBase, mirror: string): Promise<Mirrored[]> {
  const { rows } = await client.query<Mirrored>(
    `select s.n, cognito_feed.sub_of(m.attributes) as sub, ${MILLIS('m.created_at')} as "createdAt", ${MILLIS('m.updated_at')} as "updatedAt",
       (m.email, m.status, m.enabled, m.created_at, m.updated_at) is not distinct from (s.email, s.status, s.enabled, s.created_at, s.updated_at)
         and cognito_feed.same_attributes(m.attributes, s.attributes) as same
     from ${STAGING} s join lateral (select * from ${mirror} m where m.username = s.username offset 0) m on true`,
  );
  return rows;
}

/** The change log's rows of a commit, from staging and mirror, before the mirror changes: deletes, then updates, then inserts. */
export async function log(client: pg.ClientBase, pool: string, mirror: string, commit: Commit): Promise<void> {
  const { plan, lsn, timeline } = commit;
  const head = [pool, lsn, timeline] as const;
  const insert =
    'insert into cognito_feed.changes (pool, lsn, seq, timeline, op, username, sub, changed, old, new, committed_at)';
  const staged = `(select to_jsonb(r) from (select s.username, s.email, s.status, s.enabled, s.created_at, s.updated_at, s.attributes) r)`;
  const held = (username: string) =>
    `join lateral (select to_jsonb(r) as old from (select ${COLUMNS} from ${mirror} m where m.username = ${username} offset 0) r) m on true`;
  let seq = 0;
  if (plan.deletes.length > 0) {
    await client.query(
      `${insert} select $1, $2, d.place - 1, $3, 'delete', d.username, d.sub, '{}', m.old, null, clock_timestamp()
       from unnest($4::text[], $5::text[]) with ordinality d (username, sub, place) ${held('d.username')}`,
      [...head, plan.deletes.map((row) => row.username), plan.deletes.map((row) => row.sub)],
    );
    seq += plan.deletes.length;
  }
  const sub = `coalesce(cognito_feed.sub_of(s.attributes), '?' || s.username)`;
  if (plan.updates.length > 0) {
    await client.query(
      `${insert} select $1, $2, $4::int + row_number() over (order by s.n) - 1, $3, 'update', s.username, ${sub},
         cognito_feed.changed_columns(m.old, s.new), m.old, s.new, clock_timestamp()
       from (select s.*, ${staged} as new from ${STAGING} s where s.n = any($5::int[])) s ${held('s.username')}`,
      [...head, seq, plan.updates],
    );
    seq += plan.updates.length;
  }
  if (plan.inserts.length > 0) {
    await client.query(
      `${insert} select $1, $2, $4::int + row_number() over (order by s.n) - 1, $3, $6, s.username, ${sub}, '{}', null, ${staged}, clock_timestamp()
       from ${STAGING} s where s.n = any($5::int[])`,
      [...head, seq, plan.inserts, commit.op],
    );
  }
}

/**
 * The mirror itself: plain DELETE, UPDATE and INSERT, each only where it has rows. (A statement without rows would still fire statement triggers;
 * MERGE would fire the insert triggers for updates.)
 * @throws Error where a statement touched another number of rows than planned: somebody else writes to the mirror
 */
export async function change(client: pg.ClientBase, mirror: string, { plan }: Commit): Promise<void> {
  if (plan.deletes.length > 0) {
    const { rowCount } = await client.query(
      `delete from ${mirror} m using unnest($1::text[], $2::text[]) d (username, sub)
       where m.username = d.username and cognito_feed.sub_of(m.attributes) is not distinct from d.sub`,
      [plan.deletes.map((row) => row.username), plan.deletes.map((row) => row.rowSub)],
    );
    expectRows('delete', rowCount, plan.deletes.length);
  }
  if (plan.updates.length > 0) {
    const { rowCount } = await client.query(
      `update ${mirror} m set email = s.email, status = s.status, enabled = s.enabled, created_at = s.created_at,
         updated_at = s.updated_at, attributes = s.attributes
       from ${STAGING} s where s.n = any($1::int[]) and m.username = s.username`,
      [plan.updates],
    );
    expectRows('update', rowCount, plan.updates.length);
  }
  if (plan.inserts.length > 0) {
    const { rowCount } = await client.query(
      `insert into ${mirror} (${COLUMNS}) select ${COLUMNS} from ${STAGING} s where s.n = any($1::int[]) order by s.n`,
      [plan.inserts],
    );
    expectRows('insert', rowCount, plan.inserts.length);
  }
}

function expectRows(verb: string, touched: number | null, planned: number): void {
  if (touched !== planned) {
    throw new Error(
      `the mirror changed under the writer: ${verb} touched ${touched} rows of ${planned}; does a trigger or another session write to it?`,
    );
  }
}

/** Tombstones of the users that this commit removes, or finds removed. */
export async function bury(client: pg.ClientBase, pool: string, { plan }: Commit): Promise<void> {
  const buried = plan.deletes.flatMap(({ username, sub, tombstoneAt }) =>
    tombstoneAt === null ? [] : [{ username, sub, at: tombstoneAt }],
  );
  buried.push(...plan.tombstones);
  if (buried.length === 0) return;
  await client.query(
    `insert into cognito_feed.tombstones (pool, sub, username, deleted_at)
     select $1, t.sub, t.username, to_timestamp(t.at / 1000) from unnest($2::text[], $3::text[], $4::float8[]) t (sub, username, at)
     on conflict (pool, sub) do nothing`,
    [pool, buried.map(({ sub }) => sub), buried.map(({ username }) => username), buried.map(({ at }) => at)],
  );
}
