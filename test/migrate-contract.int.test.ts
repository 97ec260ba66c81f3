/** CONTRACT.md, "Database", to the letter: every relation with its columns, types and keys. */
import { describe, expect, inject, test } from 'vitest';
import { migrate } from '../services/writer/migrate.ts';
import { connected, freshDatabase } from './fresh-database.ts';

const RELATIONS: Readonly<Record<string, { columns: string; indexes?: readonly string[] }>> = {
  'cognito.users': {
    columns: `username text!, email text, status text, enabled boolean, created_at timestamp without time zone,
      updated_at timestamp without time zone, attributes jsonb`,
    indexes: ['UNIQUE btree (username)', 'hash (email)'],
  },
  'cognito_feed.slots': {
    columns: `pool text!, target text!, timeline uuid!, state text!, confirmed_lsn bigint!, commit_id uuid!, previous_commit_id uuid,
      floor timestamp with time zone!, as_of timestamp with time zone, users bigint!, last_batch bytea, mirror_oid oid, mirror_filenode oid,
      resync_reason text, resynced_at timestamp with time zone, scan_replaced bigint!, last_scan_at timestamp with time zone,
      last_scan_seconds double precision, last_scan_pages bigint, last_scan_users bigint, last_scan_complete boolean, retention_lsn bigint!`,
    // None on a column that changes with a commit: each update stays HOT.
    indexes: ['UNIQUE btree (pool)', 'UNIQUE btree (target)'],
  },
  'cognito_feed.changes': {
    columns: `pool text!, lsn bigint!, seq integer!, timeline uuid!, op text!, username text!, sub text!, changed text[]!, old jsonb, new jsonb,
      committed_at timestamp with time zone!`,
    indexes: ['UNIQUE btree (pool, lsn, seq)', 'brin (committed_at)'],
  },
  'cognito_feed.tombstones': {
    columns: 'pool text!, sub text!, username text!, deleted_at timestamp with time zone!',
    indexes: ['UNIQUE btree (pool, sub)'],
  },
  'cognito_feed.held_deletes': {
    columns:
      'pool text!, username text!, sub text!, held_at timestamp with time zone!, reason text!, seen_at timestamp with time zone',
    indexes: ['UNIQUE btree (pool, sub)'],
  },
  'cognito_feed.rejects': {
    columns: `pool text!, username text!, sub text!, sqlstate text!, reason text!, first_seen timestamp with time zone!,
      last_seen timestamp with time zone!, tries integer!, fingerprint bytea, seen_floor timestamp with time zone`,
    indexes: ['UNIQUE btree (pool, sub)'],
  },
  'cognito_feed.subscriptions': {
    columns: `name text!, pool text!, timeline uuid, confirmed_lsn bigint!, confirmed_seq integer!, created_at timestamp with time zone!,
      confirmed_at timestamp with time zone, holder uuid, fence bigint!, lease_until timestamp with time zone`,
    indexes: ['UNIQUE btree (name, pool)'],
  },
  'cognito_feed.pending_deliveries': {
    columns: `subscription text!, pool text!, lsn bigint!, seq integer!, timeline uuid!, username text!, sub text!, tries integer!,
      first_tried_at timestamp with time zone, next_try_at timestamp with time zone, reason text, claimed_by bigint`,
    indexes: ['UNIQUE btree (subscription, pool, lsn, seq)'],
  },
  'cognito_feed.dead_letters': {
    columns: `id bigint!, subscription text!, pool text!, lsn bigint!, seq integer!, reason text!, tries integer!,
      failed_at timestamp with time zone!, timeline uuid`,
    indexes: ['UNIQUE btree (id)', 'UNIQUE btree (subscription, pool, lsn, seq)'],
  },
  'cognito_feed.status': {
    columns: `pool text, target text, state text, as_of timestamp with time zone, staleness interval, users bigint, confirmed_lsn bigint,
      last_scan_at timestamp with time zone, last_scan_seconds double precision, held_deletes bigint, rejects bigint`,
  },
  'cognito_feed.migrations': {
    columns: 'version integer!, name text!, applied_at timestamp with time zone!',
    indexes: ['UNIQUE btree (version)'],
  },
};

const CATALOG = `
  select n.nspname || '.' || c.relname as relation,
    (select string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then '!' else '' end, ', ' order by a.attnum)
     from pg_attribute a where a.attrelid = c.oid and a.attnum > 0) as columns,
    (select array_agg(case when i.indisunique then 'UNIQUE ' else '' end || regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING (.*\\)).*$', '\\1')
       order by i.indexrelid) from pg_index i where i.indrelid = c.oid) as indexes
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname in ('cognito', 'cognito_feed') and c.relkind not in ('i', 'S')`;

const bare = (definition: string): string => definition.replace(/ WITH .*$/, '');

describe.each(['postgres15', 'postgres18'] as const)('%s', (server) => {
  async function migrated() {
    const pool = connected((await freshDatabase(inject(server))).url);
    await migrate(pool, { targets: [{ schema: 'cognito', name: 'users' }], publication: null, roles: false });
    return pool;
  }

  test('the relations of the contract, and no others', async () => {
    const { rows } = await (await migrated()).query<{ relation: string; columns: string; indexes: string[] | null }>(
      CATALOG,
    );
    const found = Object.fromEntries(
      rows.map(({ relation, columns, indexes }) => [
        relation,
        { columns, ...(indexes === null ? {} : { indexes: indexes.map(bare) }) },
      ]),
    );
    const wanted = Object.entries(RELATIONS).map(([name, { columns, ...rest }]) => [
      name,
      { columns: columns.replace(/\s+/g, ' '), ...rest },
    ]);
    expect(found).toEqual(Object.fromEntries(wanted));
  });

  test('no user is too long for the indexes: 128 characters of name, 2,048 of e-mail, none of them ASCII', async () => {
    const pool = await migrated();
    const text = (length: number) =>
      String.fromCodePoint(...Array.from({ length }, (_, i) => 0x20000 + ((i * 7919) % 40_000)));
    const user = [text(128), text(2_048)];
    await pool.query('insert into cognito.users (username, email) values ($1, $2)', user);
    const { rowCount } = await pool.query('select from cognito.users where username = $1 and email = $2', user);
    expect(rowCount).toBe(1);
  });

  test('only the states and operations that the contract names', async () => {
    const pool = await migrated();
    const slot = (state: string) =>
      pool.query(
        `insert into cognito_feed.slots (pool, target, timeline, state, commit_id, floor) values ($1, $1, gen_random_uuid(), $1, gen_random_uuid(), now())`,
        [state],
      );
    await slot('copying');
    await slot('streaming');
    await expect(slot('paused')).rejects.toMatchObject({ code: '23514' });
    const change = (op: string) =>
      pool.query(
        `insert into cognito_feed.changes (pool, lsn, seq, timeline, op, username, sub, committed_at)
         select 'p', 1, count(*), gen_random_uuid(), $1, 'u', 's', now() from cognito_feed.changes`,
        [op],
      );
    for (const op of ['read', 'insert', 'update', 'delete']) await change(op);
    await expect(change('truncate')).rejects.toMatchObject({ code: '23514' });
  });

  test('the view counts what stands beside each slot and says how old the mirror is', async () => {
    const pool = await migrated();
    await pool.query(`
      insert into cognito_feed.slots (pool, target, timeline, state, commit_id, floor, as_of, users, confirmed_lsn)
      values ('a', 'cognito.users', gen_random_uuid(), 'streaming', gen_random_uuid(), now(), now() - interval '90 s', 7, 42),
             ('b', 'other.users', gen_random_uuid(), 'copying', gen_random_uuid(), now(), null, 0, 0);
      insert into cognito_feed.held_deletes (pool, username, sub, held_at) values ('a', 'x', 'x', now()), ('a', 'y', 'y', now());
      insert into cognito_feed.rejects (pool, username, sub, sqlstate, reason, first_seen, last_seen) values ('b', 'z', 'z', '23514', '', now(), now())`);
    const { rows } = await pool.query(
      `select pool, target, state, users, confirmed_lsn, held_deletes, rejects, staleness between '90 s' and '120 s' as aged from cognito_feed.status order by pool`,
    );
    expect(rows).toEqual([
      {
        pool: 'a',
        target: 'cognito.users',
        state: 'streaming',
        users: '7',
        confirmed_lsn: '42',
        held_deletes: '2',
        rejects: '0',
        aged: true,
      },
      {
        pool: 'b',
        target: 'other.users',
        state: 'copying',
        users: '0',
        confirmed_lsn: '0',
        held_deletes: '0',
        rejects: '1',
        aged: null,
      },
    ]);
  });

  test('a slot is updated without touching its indexes', async () => {
    const pool = await migrated();
    await pool.query(`insert into cognito_feed.slots (pool, target, timeline, state, commit_id, floor)
      values ('a', 'cognito.users', gen_random_uuid(), 'streaming', gen_random_uuid(), now())`);
    for (let lsn = 1; lsn <= 300; lsn++) {
      await pool.query(
        `update cognito_feed.slots set confirmed_lsn = $1, previous_commit_id = commit_id, commit_id = gen_random_uuid(), last_batch = $2`,
        [lsn, Buffer.alloc(20_000, lsn)],
      );
    }
    const client = await pool.connect();
    // What a session counted is seen by others when it has flushed; the pool has one idle session, which is this one.
    await client.query('select pg_stat_force_next_flush()');
    const { rows } = await client.query<{ updated: string; hot: string }>(
      `select n_tup_upd as updated, n_tup_hot_upd as hot from pg_stat_user_tables where relid = 'cognito_feed.slots'::regclass`,
    );
    client.release();
    expect(rows[0]?.updated).toBe('300');
    // Now and then another session's snapshot keeps all of a page's versions alive, and one update must leave it.
    expect(Number(rows[0]?.hot)).toBeGreaterThan(270);
  });
});
