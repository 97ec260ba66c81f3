/** `migrate --replace-foreign-table` and back. No row of the stand-in's foreign table can be read, so whatever reads is the mirror. */
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { wantScan } from '../services/poller/conductor.ts';
import { replaceForeignTable } from '../services/writer/foreign-table.ts';
import { identify } from '../services/writer/slot-setup.ts';
import { UserFacingError } from '../shared/errors.ts';
import { keys } from '../shared/keys.ts';
import type { Env } from '../shared/settings-source.ts';
import { audited, auditMirror } from './audit.ts';
import { cliHere } from './cli-here.ts';
import { Feed, freshEmulator, redisOfFile } from './feed.ts';
import { connected, freshDatabase, freshLogin, thrownBy } from './fresh-database.ts';
import { until } from './until.ts';
import { createForeignTable, createServer, createVault, KEY_ID, SECRET, SERVER } from './wrappers-stand-in.ts';

const redis = redisOfFile();
const REPLACE = ['migrate', '--replace-foreign-table'];
const RESTORE = ['migrate', '--restore-foreign-table'];
const USERS = { schema: 'cognito', name: 'users' };

/** Relations of the schema by kind, with owner and privileges; and who reads what. */
const PLACES = `select c.relname, c.relkind, pg_get_userbyid(c.relowner) as owner, c.relacl::text as acl,
    array(select conname::text from pg_constraint where conrelid = c.oid order by 1) as constraints
  from pg_class c where c.relnamespace = to_regnamespace('cognito') order by 1`;

interface Wrapped {
  readonly feed: Feed;
  /** Of a deployment whose pool is named by the server alone. */
  readonly env: Env;
}

/** A database as Wrappers leaves it, its pool filled. */
async function wrapped(major: 'postgres15' | 'postgres18', users: number): Promise<Wrapped> {
  const database = await freshDatabase(inject(major));
  const feed = new Feed({ redis }, database, await freshEmulator());
  feed.pool.fill(users);
  await createServer(feed.postgres, {
    region: 'eu-west-1',
    user_pool_id: feed.pool.id,
    aws_access_key_id: KEY_ID,
    api_key_id: await createVault(feed.postgres, 'cognito', SECRET),
    endpoint_url: feed.emulator.endpoint,
  });
  await createForeignTable(feed.postgres);
  const { COGNITO_USER_POOL_ID: _, AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: __, ...rest } = feed.env;
  return { feed, env: { ...rest, COGNITO_FOREIGN_SERVER: SERVER, LOG_LEVEL: 'error' } };
}

/** A role of this test, without a password. */
async function freshRole(major: 'postgres15' | 'postgres18'): Promise<string> {
  return (await freshLogin(inject(major))).name;
}

describe.each(['postgres15', 'postgres18'] as const)('%s', (major) => {
  test('the mirror takes name, owner and grants, the feed goes on without a false change, and the way back is open', async () => {
    const [owner, reader, writer, part] = [
      await freshRole(major),
      await freshRole(major),
      await freshRole(major),
      await freshRole(major),
    ];
    const { feed, env } = await wrapped(major, 130);
    await feed.query(`alter foreign table cognito.users owner to ${owner}`);
    await feed.query(`grant usage on schema cognito to ${reader}, ${part}, ${writer}`);
    await feed.query(`grant select on cognito.users to ${reader} with grant option`);
    await feed.query(`grant all on cognito.users to ${writer}`);
    await feed.query(`grant select (username, status) on cognito.users to ${part}`);
    // The mirror may be read by nobody who could not read the foreign table.
    await feed.query('alter default privileges in schema cognito grant select on tables to public');
    const before = await feed.query(PLACES);

    const plain = await cliHere(['migrate'], env);
    expect(plain).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(
        /^cognito-feed: cognito\.users is a foreign table\. [^\n]*migrate --replace-foreign-table[^\n]*\n$/,
      ),
    });
    expect(await feed.query(PLACES)).toEqual(before);

    const replaced = await cliHere(REPLACE, env);
    expect(replaced, replaced.stderr).toMatchObject({ code: 0 });
    expect(replaced.stdout).toContain(' deletes held, 0 rows rejected');
    expect(replaced.stdout).toContain('cognito.users is the mirror now; the foreign table is cognito.users_foreign\n');
    expect(replaced.stdout).toContain(`no writing to cognito.users for ${writer}`);
    await feed.expectMirrorEqualsPool();
    expect(await feed.query('select target, state from cognito_feed.slots')).toEqual([
      { target: 'cognito.users', state: 'streaming' },
    ]);
    const names = await feed.query<{ relname: string }>(PLACES);
    expect(names.map(({ relname }) => relname)).toEqual(['users', 'users_email_idx', 'users_foreign', 'users_pkey']);
    expect(names[0]).toMatchObject({ owner, constraints: expect.arrayContaining(['users_pkey']) });
    const rights = await feed.query(
      `select pg_get_userbyid(grantee) as role, privilege_type as right, is_grantable as grantable from pg_class, aclexplode(relacl)
       where oid = 'cognito.users'::regclass and grantee not in (relowner, current_user::regrole) and privilege_type = 'SELECT' order by 1`,
    );
    expect(rights).toEqual(
      [
        { role: reader, right: 'SELECT', grantable: true },
        { role: writer, right: 'SELECT', grantable: false },
      ].toSorted((a, b) => (a.role < b.role ? -1 : 1)),
    );
    const [can] = await feed.query(`select has_table_privilege('${writer}', 'cognito.users', 'insert') as insert,
      has_column_privilege('${part}', 'cognito.users', 'status', 'select') as status, has_column_privilege('${part}', 'cognito.users', 'email', 'select') as email`);
    expect(can).toEqual({ insert: false, status: true, email: false });
    expect(
      await feed.query(`select schemaname, tablename from pg_publication_tables where pubname = 'cognito_users'`),
    ).toEqual([{ schemaname: 'cognito', tablename: 'users' }]);
    // What the mirror had under its old name is gone; what comes is built from the mirror.
    const beforehand = await identify(feed.postgres, feed.pool.id, { schema: 'cognito', name: 'users_mirror' });
    expect(await feed.redis.client.keys(`${beforehand}*`)).toEqual([]);
    expect(await feed.redis.client.hexists(keys.mirrors, beforehand)).toBe(0);

    expect(await cliHere(REPLACE, env)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('nothing to replace: cognito.users is the mirror already\n'),
    });
    expect(await cliHere(['migrate'], env)).toMatchObject({ code: 0, stdout: expect.stringContaining('up to date') });

    await auditMirror(feed);
    const quiet = await cliHere(['sync'], env);
    expect(quiet, quiet.stderr).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('0 inserted, 0 updated, 0 deleted'),
    });
    expect(await audited(feed)).toEqual([]);
    feed.pool.fill(1);
    const one = await cliHere(['sync'], env);
    expect(one.stdout).toContain(' deletes held, 0 rows rejected');
    expect((await audited(feed)).filter(({ level }) => level === 'ROW')).toHaveLength(1);
    await feed.expectMirrorEqualsPool();

    expect(await cliHere(RESTORE, env)).toEqual({
      code: 0,
      stdout: 'cognito.users is the foreign table again; the mirror is cognito.users_mirror\n',
      stderr: '',
    });
    const after = await feed.query<{ relname: string }>(PLACES);
    expect(after.filter(({ relname }) => relname === 'users')).toEqual(before);
    expect(await cliHere(RESTORE, env)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('nothing to restore'),
    });
    expect(await cliHere(['sync'], env)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is a foreign table'),
    });

    // The mirror beside is kept, goes on under that name, and takes the place again.
    feed.pool.fill(1);
    const beside = await cliHere(['sync'], { ...env, TARGET_TABLE: 'cognito.users_mirror' });
    expect(beside, beside.stderr).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(' deletes held, 0 rows rejected'),
    });
    expect(await cliHere(REPLACE, env)).toMatchObject({ code: 0 });
    expect((await audited(feed)).filter(({ level }) => level === 'ROW')).toHaveLength(1);
    await feed.expectMirrorEqualsPool();
  });

  test('views, and what else would go on reading the foreign table, are listed, and nothing has changed', async () => {
    const { feed, env } = await wrapped(major, 3);
    await feed.query(`create view public.active as select username from cognito.users where enabled`);
    await feed.query(`create view public."Of views" as select username from public.active`);
    await feed.query(`create materialized view public.counted as select count(*) from cognito.users with no data`);
    await feed.query(
      `create function public.everybody() returns setof cognito.users language sql as 'select * from cognito.users'`,
    );
    const before = await feed.query(PLACES);
    const refused = await cliHere(REPLACE, env);
    expect(refused).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'cognito-feed: cognito.users is read by function public.everybody(), materialized view public.counted, view public."Of views", view public.active, ' +
        'which would go on reading the foreign table. Nothing was changed: drop them, and create them again afterwards\n',
    });
    expect(await feed.query(PLACES)).toEqual(before);
    expect(await feed.query(`select to_regnamespace('cognito_feed') as made`)).toEqual([{ made: null }]);

    await feed.query('drop view public.active cascade');
    await feed.query('drop materialized view public.counted');
    await feed.query('drop function public.everybody()');
    expect(await cliHere(REPLACE, env)).toMatchObject({ code: 0 });
    await feed.query('create view public.active as select username from cognito.users where enabled');
    expect(await cliHere(RESTORE, env)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^cognito-feed: cognito\.users is read by view public\.active, which would go on reading the mirror/,
      ),
    });
    await feed.expectMirrorEqualsPool();
  });

  test('it goes on where it was cut short, and says what is in the way', async () => {
    const { feed, env } = await wrapped(major, 70);
    // A copy that did not complete: throttled for as long as a one-shot command waits would take too long, so the slot says it.
    expect(await cliHere(['migrate'], { ...env, TARGET_TABLE: 'cognito.users_mirror' })).toMatchObject({ code: 0 });
    const early = await thrownBy(replaceForeignTable(feed.postgres, USERS, null));
    expect(early).toBeInstanceOf(UserFacingError);
    expect((early as Error).message).toMatch(/the initial copy into cognito\.users_mirror is not complete/);
    expect(await cliHere(['sync'], { ...env, TARGET_TABLE: 'cognito.users_mirror' })).toMatchObject({ code: 0 });
    await feed.query('create table cognito.users_foreign (a int)');
    expect(await cliHere(REPLACE, env)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the name cognito.users_foreign is taken. Nothing was changed'),
    });
    await feed.query('drop table cognito.users_foreign');

    // A session that uses the foreign table is waited for; the name stands for one of the two all the time.
    const other = await connected(feed.database.url, 1).connect();
    onTestFinished(() => other.release());
    await other.query('begin');
    await other.query(`explain select * from cognito.users`).catch(() => undefined);
    await other.query('rollback');
    await other.query('begin');
    await other.query('comment on foreign table cognito.users is null');
    const swapping = replaceForeignTable(feed.postgres, USERS, 'cognito_users');
    await until('the swap waits', async () => {
      const waiting = await feed.query('select from pg_locks where not granted');
      return waiting.length > 0;
    });
    await other.query('rollback');
    expect((await swapping).applied[0]).toBe(
      'cognito.users is the mirror now; the foreign table is cognito.users_foreign',
    );
    await feed.expectMirrorEqualsPool();
  });
});

test('a deployment that runs while the foreign table is put back waits, reads nothing of it, and goes on when the mirror is there again', async () => {
  const { feed, env } = await wrapped('postgres18', 70);
  expect(await cliHere(REPLACE, env)).toMatchObject({ code: 0 });
  await auditMirror(feed);
  const running = feed.run();
  expect(await feed.scan()).toMatchObject({ complete: true, inserted: 0, updated: 0, deleted: 0 });
  expect(await cliHere(RESTORE, env)).toMatchObject({ code: 0 });
  // It asks for its slot only when there is work.
  feed.pool.fill(2);
  await wantScan(feed.redis, await feed.tag());
  await until(
    'it says so',
    async () => running.readiness.reasons().some((line) => line.includes('MirrorMissing')),
    () => running.readiness.reasons().join('\n') + feed.logged.slice(-12).join(''),
  );
  expect(await cliHere(REPLACE, env)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(' deletes held, 0 rows rejected'),
  });
  await until('ready', async () => running.readiness.reasons().length === 0);
  feed.pool.fill(1);
  expect(await feed.scan()).toMatchObject({ complete: true, inserted: 1, updated: 0, deleted: 0 });
  expect((await audited(feed)).filter(({ level }) => level === 'ROW').map(({ op }) => op)).toEqual([
    'INSERT',
    'INSERT',
    'INSERT',
  ]);
  await feed.expectMirrorEqualsPool();
  await running.stop();
});

test.for(['postgres15', 'postgres18'] as const)(
  'a role that is no superuser does it where it has the rights of the owner, on %s',
  async (major) => {
    const [login, owner] = [await freshLogin(inject(major)), await freshRole(major)];
    const { feed, env } = await wrapped(major, 5);
    const as = { ...env, DATABASE_URL: feed.database.urlAs(login.name, login.password) };
    await feed.query(`grant create on database ${feed.database.name} to ${login.name}`);
    await feed.query(`grant usage, create on schema cognito to ${login.name}, ${owner}`);
    await feed.query(`grant usage on schema vault to ${login.name}`);
    await feed.query(`grant select on vault.decrypted_secrets to ${login.name}`);
    await feed.query(`alter foreign table cognito.users owner to ${owner}`);
    const refused = await cliHere(REPLACE, as);
    expect(refused).toMatchObject({
      code: 1,
      stderr: `cognito-feed: this role may not rename cognito.users: it must be its owner, ${owner}, or a member of that role. Nothing was changed\n`,
    });
    await feed.query(`grant ${owner} to ${login.name}`);
    const replaced = await cliHere(REPLACE, as);
    expect(replaced, replaced.stderr).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('cognito.users is the mirror now'),
    });
    // It may go on writing, whether or not it stays a member.
    await feed.query(`revoke ${owner} from ${login.name}`);
    feed.pool.fill(1);
    expect(await cliHere(['sync'], as)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(' deletes held, 0 rows rejected'),
    });
    await feed.expectMirrorEqualsPool();
  },
);

test('bad usage and missing settings are said before anything connects', async () => {
  const env = { DATABASE_URL: 'postgres://nobody@127.0.0.1:9/none' };
  const missing = await cliHere(REPLACE, env);
  expect(missing.code).toBe(2);
  expect(missing.stderr).toMatch(/REDIS_URL is missing[\s\S]*COGNITO_USER_POOL_ID is missing/);
  expect(
    await cliHere([...RESTORE, '--replace-foreign-table'], {
      ...env,
      REDIS_URL: 'redis://h',
      COGNITO_USER_POOL_ID: 'x',
    }),
  ).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('one of them at a time'),
  });
});

test('there is nothing to replace or restore where there is no such table', async () => {
  const database = await freshDatabase(inject('postgres18'));
  const feed = new Feed({ redis }, database, await freshEmulator());
  const env = { ...feed.env, LOG_LEVEL: 'error' };
  for (const [command, line] of [
    [REPLACE, 'there is no foreign table cognito.users to replace: run cognito-feed migrate'],
    [RESTORE, 'there is no cognito.users to restore from'],
  ] as const)
    expect(await cliHere(command, env)).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(line) });
  await cliHere(['migrate'], env);
  expect(await cliHere(RESTORE, env)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(
      'there is no foreign table cognito.users_foreign to restore from. Nothing was changed',
    ),
  });
});
