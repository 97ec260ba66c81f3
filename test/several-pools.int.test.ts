/** Several pools and mirrors side by side, in one database or one Redis, and a mirror that is another pool's. */
import { expect, inject, test } from 'vitest';
import { type Feed, freshEmulator, redisOfFile, startFeed } from './feed.ts';
import { spawnFeed } from './feed-process.ts';

const redis = redisOfFile();
const [FIRST, SECOND] = ['eu-west-1_FIRST', 'eu-west-1_SECOND'];

function create(feed: Feed, domain: string, users: number): void {
  for (let i = 0; i < users; i++) feed.pool.create({ username: `u${i}`, attributes: [['email', `u${i}@${domain}`]] });
}

test.for(['postgres15', 'postgres18'] as const)(
  'two pools in one database and one Redis: each has its own mirror, slot, LSNs and change log, on %s',
  async (major) => {
    const emulator = await freshEmulator({ pools: [{ id: FIRST }, { id: SECOND }] });
    const one = await startFeed({ redis, emulator, poolId: FIRST, postgres: inject(major) });
    const two = await startFeed({
      redis,
      emulator,
      poolId: SECOND,
      database: one.database,
      settings: { TARGET_TABLE: 'cognito.customers' },
    });
    create(one, 'one.example', 80);
    create(two, 'two.example', 50);
    const running = [one.run(), two.run()];
    await Promise.all([one.scan(), two.scan()]);
    await one.expectMirrorEqualsPool();
    await two.expectMirrorEqualsPool();

    // The same usernames, other fates.
    one.pool.delete('u1');
    two.pool.update('u1', { email: 'moved@two.example' });
    one.pool.reuse('u2');
    await Promise.all([one.scan(), two.scan()]);
    await one.expectMirrorEqualsPool();
    await two.expectMirrorEqualsPool();
    expect(
      await one.query(
        'select pool, max(lsn)::int as lsn, count(*)::int as changes from cognito_feed.changes group by pool order by pool',
      ),
    ).toEqual([
      { pool: FIRST, lsn: (await one.slot()).lsn, changes: 83 },
      { pool: SECOND, lsn: (await two.slot()).lsn, changes: 51 },
    ]);
    expect(await one.query('select pool, target, users::int from cognito_feed.status order by pool')).toEqual([
      { pool: FIRST, target: 'cognito.users', users: 79 },
      { pool: SECOND, target: 'cognito.customers', users: 50 },
    ]);
    await Promise.all(running.map((it) => it.stop()));
  },
);

test('two pools from one configuration file are synced by one command', async () => {
  const emulator = await freshEmulator({ pools: [{ id: FIRST }, { id: SECOND }] });
  const one = await startFeed({ redis, emulator, poolId: FIRST });
  const two = await startFeed({
    redis,
    emulator,
    poolId: SECOND,
    database: one.database,
    settings: { TARGET_TABLE: 'cognito.customers' },
  });
  create(one, 'one.example', 30);
  create(two, 'two.example', 20);
  const { mkdtemp, rm, writeFile } = await import('node:fs/promises');
  const folder = await mkdtemp('/tmp/cognito-feed-test-');
  const file = `${folder}/feed.yaml`;
  await writeFile(
    file,
    `pools:\n  - cognitoUserPoolId: ${FIRST}\n  - cognitoUserPoolId: ${SECOND}\n    targetTable: cognito.customers\n`,
  );
  const { COGNITO_USER_POOL_ID: _, ...env } = one.env;
  const { code, signal } = await spawnFeed(['sync'], { ...env, COGNITO_FEED_CONFIG: file }).ended;
  await rm(folder, { recursive: true });
  expect({ code, signal }).toEqual({ code: 0, signal: null });
  await one.expectMirrorEqualsPool();
  await two.expectMirrorEqualsPool();
});

test('two mirrors of one pool, in two databases that share a Redis, know nothing of each other', async () => {
  const emulator = await freshEmulator();
  const [a, b] = [await startFeed({ redis, emulator }), await startFeed({ redis, emulator })];
  create(a, 'example.com', 60);
  const running = [a.run(), b.run()];
  await Promise.all([a.scan(), b.scan()]);
  await a.expectMirrorEqualsPool();
  await b.expectMirrorEqualsPool();

  a.pool.update('u1', { email: 'moved@example.com' });
  a.pool.delete('u2');
  await a.scan();
  await a.expectMirrorEqualsPool();
  expect(await b.mirrorRows()).toHaveLength(60);
  await b.scan();
  await b.expectMirrorEqualsPool();
  expect(await b.tag()).not.toBe(await a.tag());
  await Promise.all(running.map((it) => it.stop()));
});

test('one deployment of pollers serves every mirror that writers announce', async () => {
  const emulator = await freshEmulator();
  const [a, b] = [await startFeed({ redis, emulator }), await startFeed({ redis, emulator })];
  create(a, 'example.com', 60);
  const running = [a.runPoller(), a.runWriter(), b.runWriter()];
  await Promise.all([a.scan(), b.scan()]);
  await a.expectMirrorEqualsPool();
  await b.expectMirrorEqualsPool();
  await Promise.all(running.map((it) => it.stop()));
});

test('replicas share the work of one mirror, and sync beside them joins as one more', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(2_000);
  const running = [feed.runPoller(), feed.runPoller(), feed.runWriter(), feed.runWriter()];
  await feed.scan();
  feed.pool.update('user1', { email: 'moved@example.com' });
  expect((await feed.sync()).stdout).toContain('0 inserted, 1 updated, 0 deleted');
  await feed.expectMirrorEqualsPool();
  expect(
    await feed.query('select count(*)::int as n, count(distinct username)::int as users from cognito_feed.changes'),
  ).toEqual([{ n: 2_001, users: 2_000 }]);
  await Promise.all(running.map((it) => it.stop()));
});

test.for(['sync', 'run', 'writer'] as const)(
  '%s refuses a mirror of another pool: exit 1, one line',
  async (command) => {
    const emulator = await freshEmulator({ pools: [{ id: FIRST }, { id: SECOND }] });
    const feed = await startFeed({ redis, emulator, poolId: FIRST });
    create(feed, 'one.example', 20);
    await feed.sync();
    const other = spawnFeed([command], { ...feed.env, COGNITO_USER_POOL_ID: SECOND, LOG_LEVEL: 'error' });
    expect(await other.ended).toMatchObject({ code: 1 });
    expect(other.stderr).toBe(
      `cognito-feed: cognito.users is the mirror of pool ${FIRST}, not of ${SECOND}: choose another TARGET_TABLE for this pool\n`,
    );
    await feed.expectMirrorEqualsPool();
  },
);

test('a pool that has a mirror in this database already gets no second one: exit 1, one line', async () => {
  const feed = await startFeed({ redis });
  create(feed, 'example.com', 20);
  await feed.sync();
  const env = { ...feed.env, TARGET_TABLE: 'cognito.second', LOG_LEVEL: 'error' };
  expect(await spawnFeed(['migrate'], env).ended).toMatchObject({ code: 0 });
  const second = spawnFeed(['sync'], env);
  expect(await second.ended).toMatchObject({ code: 1 });
  expect(second.stderr).toMatch(
    /^cognito-feed: pool eu-west-1_EMULATED1 is mirrored into cognito\.users in this database.*\n$/,
  );
});
