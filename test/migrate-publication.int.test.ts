/** The mirror's publication for native logical replication. */
import { describe, expect, inject, test } from 'vitest';
import { migrate } from '../services/writer/migrate.ts';
import { connected, freshDatabase, freshLogin } from './fresh-database.ts';
import { startPostgres } from './servers/postgres.ts';

const USERS = { schema: 'cognito', name: 'users' };
const OTHERS = { schema: 'cognito', name: 'other_users' };
const OPTIONS = { targets: [USERS, OTHERS], publication: 'cognito_users', roles: false };
const MEMBERS = `select pubname || ': ' || string_agg(schemaname || '.' || tablename, ', ' order by tablename) as members
  from pg_publication_tables group by pubname order by 1`;

describe.each(['postgres15', 'postgres18'] as const)('%s', (server) => {
  const fresh = async () => connected((await freshDatabase(inject(server))).url);

  test('holds every mirror, publishes everything, and gets back a mirror that was recreated', async () => {
    const pool = await fresh();
    await migrate(pool, { ...OPTIONS, targets: [USERS] });
    expect((await pool.query(MEMBERS)).rows).toEqual([{ members: 'cognito_users: cognito.users' }]);
    const second = await migrate(pool, OPTIONS);
    expect(second.applied).toEqual(
      expect.arrayContaining(['table cognito.other_users', 'publication cognito_users: cognito.other_users']),
    );
    await pool.query('drop table cognito.users');
    expect((await pool.query(MEMBERS)).rows).toEqual([{ members: 'cognito_users: cognito.other_users' }]);
    const third = await migrate(pool, OPTIONS);
    expect(third.applied).toEqual(
      expect.arrayContaining(['table cognito.users', 'publication cognito_users: cognito.users']),
    );
    expect(third.warnings).toEqual([]);
    expect((await pool.query(MEMBERS)).rows).toEqual([
      { members: 'cognito_users: cognito.other_users, cognito.users' },
    ]);
    const { rows } = await pool.query('select pubinsert, pubupdate, pubdelete, pubtruncate from pg_publication');
    expect(rows).toEqual([{ pubinsert: true, pubupdate: true, pubdelete: true, pubtruncate: true }]);
    expect(await migrate(pool, OPTIONS)).toEqual({ applied: [], warnings: [] });
  });

  test.each([
    ['all tables', 'create publication cognito_users for all tables'],
    ['the schema', 'create schema cognito; create publication cognito_users for tables in schema cognito'],
  ])('leaves a publication of %s as it is', async (_of, sql) => {
    const pool = await fresh();
    await pool.query(sql);
    const { applied, warnings } = await migrate(pool, OPTIONS);
    expect(applied.filter((line) => line.startsWith('publication'))).toEqual([]);
    expect(warnings).toEqual([]);
    expect((await pool.query('select from pg_publication_rel')).rowCount).toBe(0);
  });

  test('none is made where PUBLICATION is empty', async () => {
    const pool = await fresh();
    await migrate(pool, { ...OPTIONS, publication: null });
    expect((await pool.query('select from pg_publication')).rowCount).toBe(0);
  });

  test('one that belongs to somebody else is a warning, and everything else is done', async () => {
    const login = await freshLogin(inject(server));
    const { url, name, urlAs } = await freshDatabase(inject(server));
    const admin = connected(url);
    await admin.query(`create publication cognito_users; grant create on database ${name} to ${login.name}`);
    const pool = connected(urlAs(login.name, login.password));
    const { applied, warnings } = await migrate(pool, { ...OPTIONS, targets: [USERS] });
    expect(applied).toContain('table cognito.users');
    expect(warnings).toContain(
      'the publication cognito_users could not be given cognito.users: must be owner of publication cognito_users',
    );
  });
});

test('a wal_level below logical is said', async () => {
  const server = await startPostgres({ settings: { wal_level: 'replica' } });
  try {
    const pool = connected(server.url());
    const { applied, warnings } = await migrate(pool, OPTIONS);
    expect(applied).toContain('publication cognito_users: cognito.users, cognito.other_users');
    expect(warnings).toEqual([
      'wal_level is replica: the publication can be subscribed to once it is logical (and Postgres restarted)',
    ]);
    expect((await migrate(pool, { ...OPTIONS, publication: null })).warnings).toEqual([]);
  } finally {
    await server.stop();
  }
});
