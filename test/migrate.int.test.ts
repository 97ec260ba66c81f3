/** What migrate makes, on both ends of what is supported: once, whoever else runs it. Its relations: migrate-contract; what it refuses: migrate-refusals. */
import { describe, expect, inject, test } from 'vitest';
import { loadMigrations, type MigrateOptions, migrate } from '../services/writer/migrate.ts';
import { checkWriterDatabase } from '../shared/postgres-check.ts';
import { SCHEMA_VERSION } from '../shared/schema-version.ts';
import { connected, freshDatabase, freshLogin } from './fresh-database.ts';

const USERS = { schema: 'cognito', name: 'users' };
const OPTIONS: MigrateOptions = { targets: [USERS], publication: 'cognito_users', roles: true };
const NOTHING = { applied: [], warnings: [] };

/** Whatever a migration could change: versions of every row of these catalogs. */
const CATALOGS = `select jsonb_build_array(
  (select jsonb_agg(c.xmin::text || c.oid::text order by c.oid) from pg_class c where c.oid >= 16384),
  (select jsonb_agg(n.xmin::text || n.nspname order by n.oid) from pg_namespace n),
  (select jsonb_agg(p.xmin::text || p.pubname order by p.oid) from pg_publication p),
  (select jsonb_agg(p.xmin::text || p.proname order by p.oid) from pg_proc p where p.oid >= 16384),
  (select d.xmin::text from pg_database d where d.datname = current_database())) as state`;

describe.each(['postgres15', 'postgres18'] as const)('%s', (server) => {
  test('says what it made; a second run makes nothing and touches no row of the catalog', async () => {
    const pool = connected((await freshDatabase(inject(server))).url);
    const { applied, warnings } = await migrate(pool, OPTIONS);
    expect(applied.filter((line) => !/^(role|privileges of) /.test(line))).toEqual([
      'migration 001-feed',
      'migration 002-functions',
      'migration 003-publisher',
      'table cognito.users',
      'publication cognito_users: cognito.users',
    ]);
    expect(applied).toContain('privileges of cognito_feed_writer');
    expect(warnings).toEqual([]);
    const before = await pool.query(CATALOGS);
    expect(await migrate(pool, OPTIONS)).toEqual(NOTHING);
    expect((await pool.query(CATALOGS)).rows).toEqual(before.rows);
  });

  test('ten at once: one applies, all succeed', async () => {
    const { url } = await freshDatabase(inject(server));
    const results = await Promise.all(Array.from({ length: 10 }, () => migrate(connected(url, 1), OPTIONS)));
    expect(results.filter(({ applied }) => applied.includes('migration 001-feed'))).toHaveLength(1);
    expect(results.filter(({ applied }) => applied.length === 0)).toHaveLength(9);
    const { rows } = await connected(url).query('select version, name from cognito_feed.migrations order by 1');
    expect(rows).toEqual(loadMigrations().map(({ version, name }) => ({ version, name })));
  });

  test('several databases of one cluster make the roles at once', async () => {
    const databases = await Promise.all(Array.from({ length: 4 }, () => freshDatabase(inject(server))));
    const results = await Promise.all(databases.map(({ url }) => migrate(connected(url), OPTIONS)));
    expect(results.flatMap(({ warnings }) => warnings)).toEqual([]);
    const { rows } = await connected(inject(server)).query(
      `select rolname, rolcanlogin from pg_roles where rolname ~ '^cognito_feed_(writer|reader|publisher)$' order by 1`,
    );
    const roles = ['cognito_feed_publisher', 'cognito_feed_reader', 'cognito_feed_writer'];
    expect(rows).toEqual(roles.map((rolname) => ({ rolname, rolcanlogin: false })));
  });

  test('goes on from an older migration, and leaves a newer one alone', async () => {
    const pool = connected((await freshDatabase(inject(server))).url);
    const first = await migrate(pool, OPTIONS, loadMigrations().slice(0, 1));
    expect(first.applied.filter((line) => line.startsWith('migration'))).toEqual(['migration 001-feed']);
    const { applied } = await migrate(pool, OPTIONS);
    expect(applied.filter((line) => !line.startsWith('privileges of'))).toEqual([
      'migration 002-functions',
      'migration 003-publisher',
    ]);
    await pool.query(`insert into cognito_feed.migrations (version, name) values (99, '099-of-a-later-release')`);
    expect(await migrate(pool, OPTIONS)).toEqual(NOTHING);
  });

  test('a migration that fails leaves nothing of any of them', async () => {
    const pool = connected((await freshDatabase(inject(server))).url);
    const broken = { version: 3, name: '003-broken', sql: 'create table cognito_feed.half (); select 1/0' };
    await expect(migrate(pool, OPTIONS, [...loadMigrations(), broken])).rejects.toMatchObject({ code: '22012' });
    const { rows } = await pool.query(
      `select to_regnamespace('cognito_feed') as feed, to_regnamespace('cognito') as mirror`,
    );
    expect(rows).toEqual([{ feed: null, mirror: null }]);
    expect(pool.idleCount).toBe(1);
  });

  test('mirrors of any name, in schemas of their own', async () => {
    const pool = connected((await freshDatabase(inject(server))).url);
    const odd = { schema: 'my "Schema', name: `Users'; drop table x` };
    const options = { ...OPTIONS, targets: [USERS, odd] };
    await migrate(pool, options);
    expect(await migrate(pool, options)).toEqual(NOTHING);
    const { rows } = await pool.query(`select schemaname, tablename from pg_publication_tables order by 1`);
    expect(rows).toEqual([
      { schemaname: 'cognito', tablename: 'users' },
      { schemaname: odd.schema, tablename: odd.name },
    ]);
    const client = await pool.connect();
    expect((await checkWriterDatabase(client, odd, 'cognito_users')).warnings).toEqual([]);
    client.release();
  });

  test('takes over a table of the right columns in any order, with its rows, and adds the index', async () => {
    const pool = connected((await freshDatabase(inject(server))).url);
    await pool.query(`create schema cognito;
      create table cognito.users (gone int, email text, status text, enabled boolean, created_at timestamp, updated_at timestamp,
        attributes jsonb, username text primary key);
      alter table cognito.users drop column gone; insert into cognito.users (username) values ('ann')`);
    expect((await migrate(pool, OPTIONS)).applied).toContain('index on cognito.users (email)');
    expect(await migrate(pool, OPTIONS)).toEqual(NOTHING);
    expect((await pool.query('select username from cognito.users')).rows).toEqual([{ username: 'ann' }]);
  });

  test('the owner of a database who may create roles needs no superuser', async () => {
    const login = await freshLogin(inject(server));
    const { name, url, urlAs } = await freshDatabase(inject(server));
    const admin = connected(url);
    // Where the roles exist already, made by somebody else, nothing about them needs a right.
    await migrate(admin, { ...OPTIONS, targets: [{ schema: 'other', name: 'users' }], publication: null });
    await admin.query(`drop schema cognito_feed, other cascade; alter database ${name} owner to ${login.name}`);
    const pool = connected(urlAs(login.name, login.password));
    expect((await migrate(pool, OPTIONS)).warnings).toEqual([]);
    expect(await migrate(pool, OPTIONS)).toEqual(NOTHING);
  });
});

test('the code relies on the newest migration there is', () => {
  expect(loadMigrations().at(-1)?.version).toBe(SCHEMA_VERSION);
});
