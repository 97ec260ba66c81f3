/** Who may do what, proved by trying it as each role: by privileges alone, with no trigger anywhere. */
import type pg from 'pg';
import { describe, expect, inject, test } from 'vitest';
import { loadMigrations, migrate } from '../services/writer/migrate.ts';
import { withClient } from '../shared/postgres.ts';
import { connected, freshDatabase, freshLogin } from './fresh-database.ts';

const USERS = { schema: 'cognito', name: 'users' };
const OPTIONS = { targets: [USERS], publication: null, roles: true };
const SERVICE = [
  'slots',
  'changes',
  'tombstones',
  'held_deletes',
  'rejects',
  'subscriptions',
  'pending_deliveries',
  'dead_letters',
  'status',
  'migrations',
];
const RELATIONS = ['cognito.users', ...SERVICE.map((name) => `cognito_feed.${name}`)];

/** Statements that do nothing but ask for the privilege. */
const PROBES: Readonly<Record<string, (relation: string, column: string) => string>> = {
  select: (relation) => `select from ${relation} limit 0`,
  insert: (relation, column) => `insert into ${relation} (${column}) select null where false`,
  update: (relation, column) => `update ${relation} set ${column} = null where false`,
  delete: (relation) => `delete from ${relation} where false`,
  truncate: (relation) => `truncate ${relation}`,
};

/** For each relation, the privileges that `role` proves to have. */
async function proven(pool: pg.Pool, role: string): Promise<Record<string, string>> {
  return withClient(pool, async (client) => {
    const found: Record<string, string> = {};
    for (const relation of RELATIONS) {
      const { rows } = await client.query<{ name: string }>(
        `select attname as name from pg_attribute where attrelid = $1::regclass and attnum = 1`,
        [relation],
      );
      const words: string[] = [];
      for (const [privilege, probe] of Object.entries(PROBES)) {
        if (relation === 'cognito_feed.status' && privilege !== 'select') continue;
        await client.query(`begin; set local role ${role}`);
        const failure = await client.query(probe(relation, rows[0]?.name ?? '')).then(
          () => null,
          (error: { code?: string }) => error.code,
        );
        await client.query('rollback');
        if (failure === null) words.push(privilege);
        else expect(failure).toBe('42501');
      }
      if (words.length > 0) found[relation] = words.join(' ');
    }
    return found;
  });
}

describe.each(['postgres15', 'postgres18'] as const)('%s', (server) => {
  test('reader, writer, publisher and everybody else', async () => {
    const nobody = await freshLogin(inject(server));
    const pool = connected((await freshDatabase(inject(server))).url);
    await migrate(pool, OPTIONS);
    const all = 'select insert update delete';
    expect(await proven(pool, 'cognito_feed_reader')).toEqual({
      'cognito.users': 'select',
      'cognito_feed.changes': 'select',
      'cognito_feed.status': 'select',
      'cognito_feed.migrations': 'select',
    });
    expect(await proven(pool, 'cognito_feed_writer')).toEqual({
      'cognito.users': all,
      'cognito_feed.slots': all,
      'cognito_feed.changes': 'select insert delete',
      'cognito_feed.tombstones': all,
      'cognito_feed.held_deletes': all,
      'cognito_feed.rejects': all,
      'cognito_feed.subscriptions': 'select',
      'cognito_feed.pending_deliveries': 'select',
      'cognito_feed.dead_letters': 'select',
      'cognito_feed.status': 'select',
      'cognito_feed.migrations': 'select',
    });
    expect(await proven(pool, 'cognito_feed_publisher')).toEqual({
      'cognito_feed.slots': 'select',
      'cognito_feed.changes': 'select',
      'cognito_feed.subscriptions': all,
      'cognito_feed.pending_deliveries': all,
      'cognito_feed.dead_letters': all,
      'cognito_feed.status': 'select',
      'cognito_feed.migrations': 'select',
    });
    expect(await proven(pool, nobody.name)).toEqual({});
    expect((await pool.query('select from pg_trigger')).rowCount).toBe(0);
  });

  test('the roles write and read as their services do', async () => {
    const pool = connected((await freshDatabase(inject(server))).url);
    await migrate(pool, OPTIONS);
    await withClient(pool, async (client) => {
      await client.query('begin; set local role cognito_feed_writer');
      await client.query('create temporary table staging (like cognito.users) on commit drop');
      await client.query(`insert into cognito.users values ('ann', null, null, true, now(), now(), '[{"sub": "1"}]')`);
      await client.query(`select from cognito.users where cognito_feed.sub_of(attributes) = '1' for update`);
      await client.query('set local role cognito_feed_publisher');
      // An identity column's sequence needs no privilege of its own.
      await client.query(
        `insert into cognito_feed.dead_letters (subscription, pool, lsn, seq, reason) values ('s', 'p', 1, 1, '')`,
      );
      await client.query('set local role cognito_feed_reader');
      expect((await client.query('select username from cognito.users')).rows).toEqual([{ username: 'ann' }]);
      await client.query('rollback');
    });
  });

  test('takes writing from everybody at large, and from whom a default privilege gave it', async () => {
    const app = await freshLogin(inject(server));
    const pool = connected((await freshDatabase(inject(server))).url);
    await pool.query(
      `alter default privileges grant all on tables to ${app.name}; alter default privileges grant all on tables to public`,
    );
    await migrate(pool, OPTIONS);
    await pool.query(
      `grant usage on schema cognito, cognito_feed to ${app.name}; grant insert, delete on cognito.users to public`,
    );
    const { applied } = await migrate(pool, OPTIONS);
    expect(applied).toEqual(['no writing to cognito.users for public']);
    expect(new Set(Object.values(await proven(pool, app.name)))).toEqual(new Set(['select']));
    // What somebody grants to a role by name afterwards is that somebody's to answer for.
    await pool.query(`grant insert on cognito.users to ${app.name}`);
    expect((await migrate(pool, OPTIONS)).applied).toEqual([]);
    expect((await proven(pool, app.name))['cognito.users']).toBe('select insert');
  });

  test('an upgrade takes from nobody what was granted by hand', async () => {
    const app = await freshLogin(inject(server));
    const pool = connected((await freshDatabase(inject(server))).url);
    await pool.query(`alter default privileges grant all on tables to ${app.name}`);
    await migrate(pool, OPTIONS);
    await pool.query(
      `grant usage on schema cognito_feed to ${app.name}; grant select, insert on cognito_feed.slots to ${app.name}`,
    );
    const next = { version: 99, name: '099-next', sql: 'create table cognito_feed.next (a int)' };
    await migrate(pool, OPTIONS, [...loadMigrations(), next]);
    const { rows } = await pool.query(
      `select has_table_privilege($1, 'cognito_feed.slots', 'insert') as kept, has_table_privilege($1, 'cognito_feed.next', 'insert') as given`,
      [app.name],
    );
    expect(rows).toEqual([{ kept: true, given: false }]);
  });

  test('gives back what a role has lost, also for a mirror that was recreated', async () => {
    const pool = connected((await freshDatabase(inject(server))).url);
    await migrate(pool, OPTIONS);
    await pool.query('revoke select on cognito_feed.changes from cognito_feed_reader; drop table cognito.users');
    const { applied } = await migrate(pool, { ...OPTIONS, roles: false });
    expect(applied).toEqual([
      'table cognito.users',
      'privileges of cognito_feed_writer',
      'privileges of cognito_feed_reader',
    ]);
    expect((await proven(pool, 'cognito_feed_reader'))['cognito_feed.changes']).toBe('select');
    expect((await proven(pool, 'cognito_feed_writer'))['cognito.users']).toBe('select insert update delete');
  });

  test('warns of what it may not grant', async () => {
    const login = await freshLogin(inject(server));
    const { name, url, urlAs } = await freshDatabase(inject(server));
    const owner = connected(url);
    await migrate(owner, OPTIONS);
    // Another role's database from here on, but not its mirror.
    await owner.query(
      `revoke temporary on database ${name} from public, cognito_feed_writer; grant create on database ${name} to ${login.name}`,
    );
    await owner.query(`revoke select on cognito.users from cognito_feed_reader; grant usage on schema cognito, cognito_feed to ${login.name};
      grant insert on cognito.users to public; grant select on all tables in schema cognito_feed to ${login.name}; grant select on cognito.users to ${login.name}`);
    const result = await migrate(connected(urlAs(login.name, login.password)), { ...OPTIONS, roles: false });
    expect(result).toEqual({
      applied: [],
      warnings: [
        'this role may not take away writing to cognito.users for public',
        `this role may not grant temporary on database "${name}" to cognito_feed_writer`,
        'this role may not grant select on table "cognito"."users" to cognito_feed_reader',
      ],
    });
  });
});
