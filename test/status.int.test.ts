/** `status`: the contract's JSON to the letter, what it warns of, and what it does without Redis or Postgres. */
import { expect, inject, test } from 'vitest';
import { runCli } from '../services/cli/cli.ts';
import { keys } from '../shared/keys.ts';
import type { Env } from '../shared/settings-source.ts';
import { Shutdown } from '../shared/shutdown.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { freshDatabase, freshLogin } from './fresh-database.ts';
import { freePort } from './servers/free-port.ts';

const redis = redisOfFile();

const KEYS = [
  ...['pool', 'target', 'state', 'asOf', 'stalenessSeconds', 'users', 'confirmedLsn', 'snapshotLsn', 'timeline'],
  ...['queuedChanges', 'lastScan', 'heldDeletes', 'rejects', 'publishers', 'warnings'],
];
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

async function status(env: Env, ...args: string[]) {
  const shutdown = new Shutdown({ on: () => undefined, exit: () => undefined });
  const written = { stdout: '', stderr: '' };
  const to = (name: keyof typeof written) => ({
    write(text: string) {
      written[name] += text;
    },
  });
  const code = await runCli({
    argv: ['status', ...args],
    env: { ...env, LOG_LEVEL: 'info' },
    stdout: to('stdout'),
    stderr: to('stderr'),
    shutdown,
  });
  return { code, ...written };
}

async function json(env: Env, ...args: string[]) {
  const { code, stdout, stderr } = await status(env, '--json', ...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { pools, ...rest } = JSON.parse(stdout) as { pools: Record<string, unknown>[] };
  expect(rest).toEqual({});
  for (const pool of pools) expect(Object.keys(pool)).toEqual(KEYS);
  return pools;
}

async function only(feed: Feed, env: Env = {}) {
  const [pool, ...others] = await json({ ...feed.env, ...env });
  expect(others).toEqual([]);
  return pool ?? {};
}

test('a fresh mirror, as CONTRACT has it', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(130);
  feed.run();
  const scan = await feed.scan();
  await feed.query(
    `insert into cognito_feed.subscriptions (name, pool, confirmed_lsn) values ('webhook', $1, 0), ('bus', $1, 7)`,
    [feed.pool.id],
  );
  feed.pool.delete(feed.pool.users().next().value?.Username ?? '');
  const second = await feed.scan();
  const slot = await feed.slot();

  const found = await only(feed);
  expect(found).toEqual({
    pool: feed.pool.id,
    target: 'cognito.users',
    state: 'streaming',
    asOf: slot.as_of?.toISOString(),
    stalenessSeconds: expect.any(Number),
    users: 129,
    confirmedLsn: slot.lsn,
    snapshotLsn: slot.lsn,
    timeline: slot.timeline,
    queuedChanges: 0,
    lastScan: {
      startedAt: new Date(second.floor).toISOString(),
      seconds: second.seconds,
      pages: second.pages,
      users: 129,
      complete: true,
    },
    heldDeletes: 0,
    rejects: 0,
    // `read` is not delivered: one delete is behind.
    publishers: [
      { name: 'bus', lagChanges: 0 },
      { name: 'webhook', lagChanges: 1 },
    ],
    warnings: [],
  });
  expect(found['asOf']).toMatch(ISO);
  expect(found['stalenessSeconds']).toBeGreaterThan(0);
  expect(found['stalenessSeconds']).toBeLessThan(30);
  expect(scan.complete).toBe(true);
});

test('what waits in the queue is counted in changes', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(10);
  const running = feed.run();
  await feed.scan();
  await running.stop();
  const tag = await feed.tag();
  await feed.redis.client.rpush(`${tag}:changes:wait`, 'some-id.1000.5000', 'another-id.7.100', 'no-batch');
  expect(await only(feed)).toMatchObject({ queuedChanges: 1_007 });
});

test('held deletes, rejected rows and an incomplete scan are named', async () => {
  const feed = await startFeed({ redis, settings: { DELETE_GUARD_COUNT: '5', DELETE_GUARD_PERCENT: '10' } });
  feed.pool.fill(100);
  feed.run({ patienceMs: 0 });
  await feed.scan();
  await feed.query(`alter table cognito.users add constraint no_nine check (email <> 'nine@example.com')`);
  const names = Array.from(feed.pool.users(), ({ Username }) => Username ?? '');
  feed.pool.update(names[0] ?? '', { email: 'nine@example.com' });
  feed.emulator.faults.set({ missing: [{ users: names.slice(50, 70) }] });
  await feed.scan();
  const found = await only(feed);
  expect(found).toMatchObject({ users: 100, heldDeletes: 20, rejects: 1 });
  expect(found['warnings']).toEqual([
    '20 deletes are held: cognito-feed deletes list says whom and why',
    '1 row stands rejected by Postgres: see cognito_feed.rejects for why',
  ]);

  feed.emulator.faults.set({
    failures: [{ kind: 'error', error: 'AccessDeniedException', operations: ['ListUsers'] }],
  });
  const failed = await feed.scan();
  expect(failed.complete).toBe(false);
  const after = await only(feed);
  expect(after).toMatchObject({ lastScan: { startedAt: new Date(failed.floor).toISOString(), complete: false } });
  expect(after['warnings']).toContain(`the last scan was incomplete: ${failed.reason}`);
  expect(JSON.stringify(after)).not.toContain('example.com');
});

test('no writer, no snapshot, another history, a stale mirror and an evicting Redis are named', async () => {
  const feed = await startFeed({ redis, settings: { POLL_INTERVAL: '30s' } });
  feed.pool.fill(10);
  const running = feed.run();
  await feed.scan();
  await running.stop();
  const tag = await feed.tag();
  expect((await only(feed))['warnings']).toEqual([]);

  await feed.redis.client.hdel(keys.mirrors, tag);
  await feed.query(`update cognito_feed.slots set as_of = as_of - interval '5 minutes'`);
  await feed.query('update cognito_feed.slots set commit_id = gen_random_uuid()');
  await feed.redis.client.config('SET', 'maxmemory-policy', 'allkeys-lru');
  try {
    expect((await only(feed))['warnings']).toEqual([
      'no writer announces this mirror: start cognito-feed writer, or run',
      'snapshot and mirror tell different histories: a writer resyncs before it applies anything',
      // Twice the interval and four times what the scan took.
      expect.stringMatching(/^the mirror is stale: no scan that began in the last 6\d s has been applied$/),
      expect.stringContaining('maxmemory-policy allkeys-lru'),
    ]);
  } finally {
    await feed.redis.client.config('SET', 'maxmemory-policy', 'noeviction');
  }

  await feed.redis.client.unlink(keys.snapshot(tag));
  const without = await only(feed);
  expect(without).toMatchObject({ snapshotLsn: null });
  expect(without['warnings']).toContain('there is no snapshot in this Redis: a writer rebuilds it from the mirror');

  await feed.query('truncate cognito.users');
  expect((await only(feed))['warnings']).toContain(
    'the mirror was truncated or made anew behind the back of the feed: a writer resyncs',
  );
});

test('without Redis: nulls, the last scan from Postgres, and 0', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(10);
  const running = feed.run();
  const scan = await feed.scan();
  await running.stop();
  const nulls = { snapshotLsn: null, queuedChanges: null };
  const lastScan = { startedAt: new Date(scan.floor).toISOString(), pages: 1, users: 10, complete: true };

  const unset = await only(feed, { REDIS_URL: '' });
  expect(unset).toMatchObject({ ...nulls, users: 10, state: 'streaming', lastScan });
  expect(unset['warnings']).toEqual(['REDIS_URL is not set: snapshotLsn and queuedChanges are unknown']);

  const startedAt = performance.now();
  const away = await only(feed, { REDIS_URL: `redis://:a-redis-password@127.0.0.1:${await freePort()}` });
  expect(performance.now() - startedAt).toBeLessThan(8_000);
  expect(away).toMatchObject({ ...nulls, users: 10, lastScan });
  expect(away['warnings']).toEqual([expect.stringMatching(/^Redis.*ECONNREFUSED.*snapshotLsn and queuedChanges/)]);
  expect(JSON.stringify(away)).not.toContain('a-redis-password');

  redis.server.pause();
  try {
    const silent = await only(feed);
    expect(silent).toMatchObject({ ...nulls, users: 10 });
    expect(silent['warnings']).toEqual([expect.stringContaining('Redis does not answer')]);
  } finally {
    redis.server.resume();
  }
});

test('without Postgres: 1, and one clear line', async () => {
  const feed = await startFeed({ redis });
  const url = `postgres://postgres:a-database-password@127.0.0.1:${await freePort()}/app`;
  const away = await status({ ...feed.env, DATABASE_URL: url }, '--json');
  expect(away).toMatchObject({ code: 1, stdout: '' });
  expect(away.stderr).toMatch(/^cognito-feed: Postgres: .*ECONNREFUSED.*\n$/);
  expect(away.stderr.trimEnd()).not.toContain('\n');
  expect(away.stderr).not.toContain('a-database-password');

  const bare = await freshDatabase(inject('postgres15'));
  const unmigrated = await status({ ...feed.env, DATABASE_URL: bare.url });
  expect(unmigrated).toMatchObject({ code: 1, stdout: '' });
  expect(unmigrated.stderr).toBe('cognito-feed: the database has not been migrated: run cognito-feed migrate\n');
});

test('a pool that no writer has started for, and every slot where no pool is named', async () => {
  const feed = await startFeed({ redis });
  const [unstarted] = await json(feed.env);
  expect(unstarted).toMatchObject({ pool: feed.pool.id, target: 'cognito.users', state: null, users: null });
  expect(unstarted?.['warnings']).toEqual(['no writer has started for this pool yet']);
  const unnamed = { DATABASE_URL: feed.database.url, REDIS_URL: redis.server.url };
  expect(await json(unnamed)).toEqual([]);
  expect((await status(unnamed)).stdout).toBe('no mirror has been started in this database\n');

  feed.pool.fill(5);
  feed.run();
  await feed.scan();
  expect(await json(unnamed)).toMatchObject([{ pool: feed.pool.id, users: 5, warnings: [] }]);
});

test('a reader of the database sees all but what its role may not', async () => {
  const login = await freshLogin(inject('postgres18'));
  const feed = await startFeed({ redis });
  feed.pool.fill(5);
  feed.run();
  await feed.scan();
  await feed.query(`grant usage on schema cognito_feed to ${login.name}`);
  await feed.query(
    `grant select on cognito_feed.status, cognito_feed.changes, cognito_feed.migrations to ${login.name}`,
  );
  const found = await only(feed, { DATABASE_URL: feed.database.urlAs(login.name, login.password) });
  expect(found).toMatchObject({ users: 5, state: 'streaming', timeline: null, publishers: null, snapshotLsn: 1 });
  expect(found['warnings']).toEqual([
    'this role may not read cognito_feed.slots: timeline is unknown',
    'this role may not read cognito_feed.subscriptions: publishers are unknown',
  ]);
});

test('the table fits 80 columns, with one mirror or with three', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(5);
  feed.run();
  await feed.scan();
  const one = await status({ ...feed.env, REDIS_URL: '' });
  expect(one.code).toBe(0);
  expect(one.stdout).toMatch(/^pool +eu-west-1_EMULATED1$/m);
  expect(one.stdout).toMatch(/^as of +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$/m);
  expect(one.stdout).toMatch(/^staleness +\d+(\.\d)? s$/m);
  expect(one.stdout).toMatch(/^users +5$/m);
  expect(one.stdout).toMatch(/^! REDIS_URL is not set: /m);

  for (const number of [2, 3]) {
    await feed.query(
      `insert into cognito_feed.slots (pool, target, timeline, state, commit_id, floor)
       values ($1, $2, gen_random_uuid(), 'copying', gen_random_uuid(), now())`,
      [`us-gov-west-1_${'LongerThanAny'.repeat(3)}${number}`, `cognito.users_of_another_application_${number}`],
    );
  }
  const three = await status({ DATABASE_URL: feed.database.url });
  expect(three.stdout).toContain('eu-west-1_EMULATED1');
  for (const line of `${one.stdout}${three.stdout}`.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});
