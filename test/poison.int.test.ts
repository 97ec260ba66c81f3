/** A row that Postgres refuses stands alone in `cognito_feed.rejects`; the rest of its batch, and the service, go on. */
import { expect, inject, test } from 'vitest';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { expectEqualRows } from './rows.ts';

const redis = redisOfFile();

const POISON = 'poison@example.com';
const CONSTRAINT = `alter table cognito.users add constraint no_poison check (email is distinct from '${POISON}')`;

async function filled(users: number, postgres = inject('postgres18')): Promise<Feed> {
  const feed = await startFeed({ redis, postgres });
  for (let i = 0; i < users; i++) feed.pool.create({ username: `u${i}`, attributes: [['email', `u${i}@example.com`]] });
  return feed;
}

const rejects = (feed: Feed) =>
  feed.query<{ username: string; sqlstate: string; reason: string; tries: number }>(
    'select username, sqlstate, reason, tries from cognito_feed.rejects order by username',
  );
const withoutUser = (feed: Feed, ...names: string[]) =>
  feed.poolRows().filter(({ username }) => !names.includes(username));

async function expectMirrorLacksOnly(feed: Feed, ...names: string[]): Promise<void> {
  expectEqualRows(await feed.mirrorRows(), withoutUser(feed, ...names));
}

test.for(['postgres15', 'postgres18'] as const)(
  'a poison row in the initial copy is isolated, the rest is applied, and sync exits 1, on %s',
  async (major) => {
    const feed = await filled(300, inject(major));
    feed.pool.update('u150', { email: POISON });
    await feed.postgres.query(CONSTRAINT);
    const { code, stdout } = await feed.sync();
    expect(code).toBe(1);
    expect(stdout).toContain('299 inserted, 0 updated, 0 deleted; 0 deletes held, 1 rows rejected');
    await expectMirrorLacksOnly(feed, 'u150');
    expect(await rejects(feed)).toEqual([
      { username: 'u150', sqlstate: '23514', reason: expect.stringContaining('constraint no_poison'), tries: 1 },
    ]);
    expect(await feed.query('select rejects::int, users::int from cognito_feed.status')).toEqual([
      { rejects: 1, users: 299 },
    ]);
  },
);

test('the same service applies the next batches, tries the row again only when it has changed, and then settles it', async () => {
  const feed = await filled(100);
  const running = feed.run();
  await feed.scan();
  await feed.postgres.query(CONSTRAINT);

  for (const username of ['u5', 'u50', 'u99']) feed.pool.update(username, { email: POISON });
  for (let i = 10; i < 40; i++) feed.pool.update(`u${i}`, { email: `moved${i}@example.com` });
  feed.pool.delete('u60');
  feed.pool.create({ username: 'new' });
  expect(await feed.scan()).toMatchObject({ complete: true, updated: 30, inserted: 1, deleted: 1 });
  expect((await rejects(feed)).map(({ username, tries }) => [username, tries])).toEqual([
    ['u5', 1],
    ['u50', 1],
    ['u99', 1],
  ]);
  // A row that is refused keeps its last good state.
  expect(await feed.query(`select email from cognito.users where username = 'u5'`)).toEqual([
    { email: 'u5@example.com' },
  ]);

  // The same again: not tried, and still rejected.
  const { lsn } = await feed.slot();
  expect(await feed.scan()).toMatchObject({ complete: true });
  expect((await rejects(feed)).map(({ tries }) => tries)).toEqual([1, 1, 1]);
  expect((await feed.slot()).lsn).toBe(lsn);

  feed.pool.update('u5', { email: 'good@example.com' });
  feed.pool.disable('u50');
  feed.pool.delete('u99');
  expect(await feed.scan()).toMatchObject({ complete: true, updated: 1, deleted: 1 });
  expect((await rejects(feed)).map(({ username, tries }) => [username, tries])).toEqual([['u50', 2]]);

  await running.stop();
  expect(await feed.sync()).toMatchObject({ code: 1 });
});

test('once the constraint is dropped a resync tries the row again, and sync exits 0', async () => {
  const feed = await filled(50);
  await feed.postgres.query(CONSTRAINT);
  feed.pool.update('u7', { email: POISON });
  expect(await feed.sync()).toMatchObject({ code: 1 });

  await feed.postgres.query('alter table cognito.users drop constraint no_poison');
  await feed.redis.client.flushall();
  expect(await feed.sync()).toMatchObject({ code: 0 });
  expect(await rejects(feed)).toEqual([]);
  await feed.expectMirrorEqualsPool();
});

test('a trigger of the user’s own that fails, and a deferred constraint, are isolated too', async () => {
  const feed = await filled(60);
  await feed.sync();
  await feed.postgres.query(`
    create function public.fails() returns trigger language plpgsql as $$
      begin
        if old.username = 'u20' then raise exception 'not %', old.email; end if;
        return coalesce(new, old);
      end $$;
    create trigger fails before update or delete on cognito.users for each row execute function public.fails();
    create function public.late() returns trigger language plpgsql as $$
      begin
        if new.email = '${POISON}' then raise exception 'not %', new.email using errcode = '23514'; end if;
        return null;
      end $$;
    create constraint trigger late after insert or update on cognito.users deferrable initially deferred for each row execute function public.late();
  `);
  feed.pool.delete('u20');
  feed.pool.update('u30', { email: POISON });
  for (let i = 0; i < 10; i++) feed.pool.update(`u${i}`, { email: `moved${i}@example.com` });
  feed.pool.delete('u40');
  expect(await feed.sync()).toMatchObject({ code: 1 });
  expect((await rejects(feed)).map(({ username, sqlstate }) => [username, sqlstate])).toEqual([
    ['u20', 'P0001'],
    ['u30', '23514'],
  ]);
  expect(await feed.mirrorRows()).toHaveLength(59);
  expect(await feed.query(`select count(*)::int as n from cognito.users where email like 'moved%'`)).toEqual([
    { n: 10 },
  ]);

  await feed.postgres.query('drop trigger fails on cognito.users; drop trigger late on cognito.users');
  feed.pool.disable('u30');
  await feed.sync();
  expect((await rejects(feed)).map(({ username }) => username)).not.toContain('u30');
});
