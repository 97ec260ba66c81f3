/** Where migrate or a service can't go on: one clear line, and nothing changed. */
import { describe, expect, inject, test } from 'vitest';
import { type MigrateOptions, migrate } from '../services/writer/migrate.ts';
import { UserFacingError } from '../shared/errors.ts';
import { withClient } from '../shared/postgres.ts';
import { checkServer, checkVersion, checkWriterDatabase } from '../shared/postgres-check.ts';
import { SCHEMA_VERSION } from '../shared/schema-version.ts';
import { connected, freshDatabase, freshLogin, thrownBy } from './fresh-database.ts';

const USERS = { schema: 'cognito', name: 'users' };
const OPTIONS: MigrateOptions = { targets: [USERS], publication: 'cognito_users', roles: false };

/** Every object outside Postgres' own, whatever it is. */
const OBJECTS = `select array(select c.oid::regclass::text from pg_class c where c.oid >= 16384 order by 1) as relations,
  array(select nspname::text from pg_namespace order by 1) as schemas, array(select pubname::text from pg_publication order by 1) as publications,
  array(select p.oid::regprocedure::text from pg_proc p where p.oid >= 16384 order by 1) as functions`;

const REST = 'email text, status text, enabled boolean, created_at timestamp, updated_at timestamp, attributes jsonb';
const ALIENS: readonly (readonly [what: string, sql: string, line: string])[] = [
  [
    'a foreign table',
    `create foreign data wrapper wrappers; create server cognito_server foreign data wrapper wrappers;
     create foreign table cognito.users (username text, ${REST}) server cognito_server`,
    'is a foreign table',
  ],
  ['a view', 'create view cognito.users as select 1 as username', 'is a view'],
  ['a materialized view', 'create materialized view cognito.users as select 1 as username', 'is a materialized view'],
  ['a sequence', 'create sequence cognito.users', 'is a sequence'],
  [
    'a partitioned table',
    `create table cognito.users (username text primary key, ${REST}) partition by hash (username)`,
    'is a partitioned table',
  ],
  [
    'an unlogged table',
    `create unlogged table cognito.users (username text primary key, ${REST})`,
    'is an unlogged table',
  ],
  [
    'a column more',
    `create table cognito.users (username text primary key, ${REST}, phone text)`,
    'is another table: it has a column phone text',
  ],
  [
    'columns less',
    'create table cognito.users (username text primary key, email text, enabled boolean, created_at timestamp)',
    'is another table: it lacks status, updated_at, attributes',
  ],
  [
    'another type',
    `create table cognito.users (username varchar(99) primary key, ${REST})`,
    'is another table: it has a column username character varying(99)',
  ],
  [
    'times with a zone',
    `create table cognito.users (username text primary key, ${REST.replaceAll('timestamp', 'timestamptz')})`,
    'is another table: it has a column created_at timestamp with time zone, has a column updated_at timestamp with time zone',
  ],
  ['no key', `create table cognito.users (username text not null unique, ${REST})`, 'its primary key is not username'],
  [
    'a longer key',
    `create table cognito.users (username text, ${REST}, primary key (username, email))`,
    'its primary key is not username',
  ],
  [
    'a deferrable key',
    `create table cognito.users (username text primary key deferrable, ${REST})`,
    'its primary key is not username',
  ],
  [
    'a generated column',
    `create table cognito.users (username text primary key, ${REST.replace('email text', 'email text generated always as (username) stored')})`,
    'its column email is generated',
  ],
];

describe.each(['postgres15', 'postgres18'] as const)('%s', (server) => {
  test.each(ALIENS)('migrate stops before %s and changes nothing', async (_what, sql, line) => {
    const pool = connected((await freshDatabase(inject(server))).url);
    await pool.query(`create schema cognito; ${sql}`);
    const before = await pool.query(OBJECTS);
    // The first target could be made; it must not stay either.
    const error = await thrownBy(migrate(pool, { ...OPTIONS, targets: [{ schema: 'first', name: 'users' }, USERS] }));
    expect(error).toBeInstanceOf(UserFacingError);
    expect(error).toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(/^cognito\.users is .*Nothing was changed: [^\n]*$/),
    });
    expect((error as Error).message).toContain(line);
    expect((await pool.query(OBJECTS)).rows).toEqual(before.rows);
  });

  test.each(['SQL_ASCII', 'LATIN1'])('migrate refuses a database encoded in %s', async (encoding) => {
    const pool = connected((await freshDatabase(inject(server), { encoding })).url);
    const before = await pool.query(OBJECTS);
    await expect(migrate(pool, OPTIONS)).rejects.toThrow(new RegExp(`is encoded in ${encoding}: only UTF8`));
    await expect(withClient(pool, checkServer)).rejects.toThrow(UserFacingError);
    expect((await pool.query(OBJECTS)).rows).toEqual(before.rows);
  });

  test('migrate says what a role lacks', async () => {
    const login = await freshLogin(inject(server));
    const { url, urlAs, name } = await freshDatabase(inject(server));
    const pool = connected(urlAs(login.name, login.password));
    const error = await thrownBy(migrate(pool, OPTIONS));
    expect(error).toBeInstanceOf(UserFacingError);
    expect((error as Error).message).toBe(
      `this role may not migrate the database: permission denied for database ${name}. Nothing was changed`,
    );
    const before = await connected(url).query(OBJECTS);
    expect(before.rows[0].schemas).not.toContain('cognito_feed');
  });

  test('migrate does not wait for ever for a lock that a session keeps', async () => {
    const { url } = await freshDatabase(inject(server));
    const pool = connected(url);
    await pool.query(`create schema cognito; create table cognito.users (username text primary key, ${REST})`);
    await withClient(connected(url), async (other) => {
      await other.query('begin; lock table cognito.users in access exclusive mode');
      const waited = migrate(pool, OPTIONS);
      await expect.poll(async () => (await other.query('select from pg_locks where not granted')).rowCount).toBe(1);
      await other.query('rollback');
      expect((await waited).applied).toContain('index on cognito.users (email)');
    });
  });

  test('the writer asks for migrations, mirror, privileges, row level security and publication', async () => {
    const login = await freshLogin(inject(server));
    const { url, urlAs } = await freshDatabase(inject(server));
    const owner = connected(url);
    const writer = connected(urlAs(login.name, login.password));
    const check = (pool = owner) => withClient(pool, (client) => checkWriterDatabase(client, USERS, 'cognito_users'));

    await expect(check()).rejects.toThrow('the database has not been migrated: run cognito-feed migrate');
    await migrate(owner, { ...OPTIONS, roles: true });
    expect((await check()).warnings).toEqual([]);
    await owner.query('delete from cognito_feed.migrations where version > 1');
    await expect(check()).rejects.toThrow(`the database is at migration 1, this release needs ${SCHEMA_VERSION}: run`);
    await owner.query(`insert into cognito_feed.migrations values (2, '002-again'), (99, '099-of-a-later-release')`);
    expect((await check()).warnings).toEqual([]);

    await expect(check(writer)).rejects.toThrow('this role may not read the schema cognito_feed: grant it');
    await owner.query(`grant cognito_feed_publisher to ${login.name}`);
    await expect(check(writer)).rejects.toThrow('this role may not use the schema of cognito.users: grant it');
    await owner.query(`grant cognito_feed_reader to ${login.name}`);
    await expect(check(writer)).rejects.toThrow(
      /^this role lacks privileges \(cognito_feed\.slots: insert; .*: delete\): grant it cognito_feed_writer/,
    );
    await owner.query(`grant cognito_feed_writer to ${login.name}`);
    expect((await check(writer)).warnings).toEqual([]);

    await owner.query('alter table cognito.users enable row level security');
    expect((await check()).warnings).toEqual([]);
    await expect(check(writer)).rejects.toThrow('row level security of cognito.users holds for this role');
    await owner.query(`alter role ${login.name} bypassrls`);
    expect((await check(writer)).warnings).toEqual([]);

    await owner.query('alter publication cognito_users drop table cognito.users');
    expect((await check()).warnings).toEqual([
      'the publication cognito_users does not hold cognito.users: run cognito-feed migrate, or set PUBLICATION to nothing',
    ]);
    await owner.query('drop table cognito.users');
    await expect(check()).rejects.toThrow('there is no table cognito.users: run cognito-feed migrate');
    await owner.query('create view cognito.users as select 1 as username');
    await expect(check()).rejects.toThrow("cognito.users is a view; it can't be the mirror");
  });
});

test('Postgres 14 is refused, 15 to 18 are taken, 19 is taken with a warning', () => {
  expect(() => checkVersion(140_020)).toThrow('Postgres 14 is too old: 15 to 18 are supported');
  expect(() => checkVersion(90_624)).toThrow('Postgres 9 is too old');
  expect([150_000, 150_018, 169_999, 170_010, 180_004].map(checkVersion)).toEqual([null, null, null, null, null]);
  expect(checkVersion(190_001)).toBe('Postgres 19 is newer than 18, the last one that this release was tested with');
});
