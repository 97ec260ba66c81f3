/** Invariant 8: values and secrets appear in no log, no metric, no error message, and nowhere in Redis once the queues are empty. */
import { randomUUID } from 'node:crypto';
import { expect, inject, test } from 'vitest';
import { queues } from '../shared/keys.ts';
import { createQueue, jobOptions } from '../shared/queue.ts';
import type { RedisClient } from '../shared/redis.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { type FeedProcess, get, spawnFeed } from './feed-process.ts';
import { freshDatabase } from './fresh-database.ts';
import { freePort } from './servers/free-port.ts';
import { until } from './until.ts';

/** Hex, so that no escaping hides it. */
const canary = (of: string) => `canary${of}${randomUUID().replaceAll('-', '')}`;
const VALUE = canary('a');
const SECRETS = {
  database: canary('b'),
  redis: canary('c'),
  aws: canary('d'),
  refresh: canary('e'),
};
const CANARY = new RegExp([VALUE, ...Object.values(SECRETS)].join('|'), 'gi');

const redis = redisOfFile({ password: SECRETS.redis });

/** Every key of Redis with all that it holds, whatever its type. */
async function everythingIn(client: RedisClient): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for (const key of await client.keys('*')) {
    const type = await client.type(key);
    const read: Record<string, [string, ...string[]]> = {
      string: ['GET', key],
      hash: ['HGETALL', key],
      list: ['LRANGE', key, '0', '-1'],
      set: ['SMEMBERS', key],
      zset: ['ZRANGE', key, '0', '-1', 'WITHSCORES'],
      stream: ['XRANGE', key, '-', '+'],
    };
    const [command, ...args] = read[type] ?? [];
    if (command === undefined) throw new Error(`a key of type ${type}`);
    all.set(key, latin1(await client.callBuffer(command, args)));
  }
  return all;
}

function latin1(reply: unknown): string {
  if (Buffer.isBuffer(reply)) return reply.toString('latin1');
  if (Array.isArray(reply)) return reply.map(latin1).join('\n');
  if (typeof reply === 'object' && reply !== null)
    return Object.entries(reply)
      .map(([key, value]) => `${key}\n${latin1(value)}`)
      .join('\n');
  return String(reply);
}

const found = (text: string): string[] =>
  [...text.matchAll(CANARY)].map(({ index }) => text.slice(Math.max(0, index - 150), index + 60));

async function expectRedisClean(feed: Feed): Promise<void> {
  const tag = await feed.tag();
  await until('empty queues', async () => {
    const counts = Object.values(queues).map((name) =>
      createQueue(name, tag, feed.redis.client).getJobCountByTypes('wait', 'active', 'delayed', 'waiting-children'),
    );
    return (await Promise.all(counts)).every((count) => count === 0);
  });
  const everything = await everythingIn(feed.redis.client);
  expect(everything.size).toBeGreaterThan(10);
  expect(
    [...everything].flatMap(([key, text]) => [...found(key), ...found(text).map((hit) => `${key}: ${hit}`)]),
  ).toEqual([]);
}

/** A feed whose users carry the canary in every place that is a value. */
async function planted(): Promise<Feed> {
  const database = await freshDatabase(inject('postgres18'));
  const feed = await startFeed({ redis, database });
  const { name } = database;
  await feed.postgres.query(`create role "${name}" superuser login password '${SECRETS.database}'`);
  for (let i = 0; i < 150; i++) {
    const attributes = [
      ['email', `${VALUE}${i}@example.com`],
      ['custom:note', `${VALUE}\n"${i}"`],
      ['identities', JSON.stringify([{ userId: VALUE }])],
    ] as const;
    feed.pool.create({ username: `u${i}`, attributes });
  }
  return feed;
}

const envOf = (feed: Feed, more: Record<string, string> = {}) => ({
  ...feed.env,
  DATABASE_URL: feed.database.urlAs(feed.database.name, SECRETS.database),
  AWS_SECRET_ACCESS_KEY: SECRETS.aws,
  REFRESH_TOKEN: SECRETS.refresh,
  POLL_INTERVAL: '200ms',
  ...more,
});

/** Everything that can go wrong with a batch or a request, each with the canary in the message of whoever refuses. */
async function provoke(feed: Feed, service: FeedProcess): Promise<void> {
  const mirrorSays = (what: string, sql: string) => service.until(what, async () => (await feed.query(sql)).length > 0);
  // A row that a constraint refuses: Postgres says "Failing row contains (…)".
  await feed.postgres.query(`alter table cognito.users add constraint poison check (email not like 'poison%')`);
  feed.pool.update('u1', { email: `poison${VALUE}` });
  await mirrorSays('a reject', `select from cognito_feed.rejects where username = 'u1'`);
  // A trigger that fails a few times as an outage would, and tells why.
  await feed.postgres.query(`
    create sequence public.tries;
    create function public.busy() returns trigger language plpgsql as $$
      begin
        if new.username = 'u2' and nextval('public.tries') < 4 then
          raise exception 'busy with %', new using errcode = '40001', detail = new.email, hint = new.email;
        end if;
        if new.username = 'u3' then raise exception 'never %', new using detail = new.email; end if;
        raise log 'row %', new; raise warning 'row %', new;
        return new;
      end $$;
    create trigger busy before update on cognito.users for each row execute function public.busy();
  `);
  feed.pool.update('u2', { 'custom:note': `changed ${VALUE}` });
  await mirrorSays(
    'the update',
    `select from cognito.users where username = 'u2' and attributes::text like '%changed%'`,
  );
  feed.pool.update('u3', { 'custom:note': `changed ${VALUE}` });
  await mirrorSays('a second reject', `select from cognito_feed.rejects where username = 'u3'`);
  // Cognito's own messages, and proxies', may repeat what was asked.
  const refused = [
    'InternalErrorException',
    'TooManyRequestsException',
    'InvalidParameterException',
    'AccessDeniedException',
    'WeirdException',
  ];
  feed.emulator.faults.set({
    failures: [
      ...refused.map((error) => ({ kind: 'error' as const, error, message: `no: ${VALUE}`, times: 2 })),
      { kind: 'drop-middle', times: 2 },
    ],
  });
  const { answers } = feed.emulator.record;
  await service.until('all of them', () =>
    [...refused, 'drop-middle'].every((outcome) => (answers[outcome] ?? 0) >= 2),
  );
  // A batch that nobody can read.
  const queue = createQueue<unknown, unknown>(queues.changes, await feed.tag(), feed.redis.client);
  await queue.add(
    'batch',
    { type: 'batch', v: 1, changes: [{ email: VALUE, row: { email: VALUE } }], [VALUE]: VALUE },
    jobOptions(randomUUID()),
  );
  await service.until('a parked job', () => service.stderr.includes('parked'));
  feed.pool.delete('u4');
  feed.pool.reuse('u5', { attributes: [['email', `${VALUE}@example.org`]] });
  await mirrorSays('the last change', `select from cognito.users where username = 'u5' and email like '%example.org'`);
}

test('Invariant 8: a run at LOG_LEVEL=trace through initial copy, changes, refusals and failures tells no value and no secret', async () => {
  const feed = await planted();
  const port = await freePort();
  const service = spawnFeed(['run'], envOf(feed, { HTTP_PORT: String(port) }));
  await service.until(
    'the initial copy',
    async () => (await feed.query('select from cognito_feed.slots where as_of is not null')).length > 0,
  );
  await provoke(feed, service);
  await service.until('readiness', async () => (await get(port, '/readyz'))?.status === 200);
  const pages = await Promise.all(['/metrics', '/', '/readyz', '/healthz'].map((path) => get(port, path)));
  expect(await service.endAfter(() => service.signal('SIGTERM'))).toMatchObject({ code: 0 });

  expect(service.stderr).toContain('"level":"debug"');
  expect(pages.map((page) => page?.status ?? 0)).toEqual([200, expect.any(Number), 200, 200]);
  expect(found([service.stdout, service.stderr, ...pages.map((page) => page?.body)].join('\n'))).toEqual([]);
  expect(found(JSON.stringify(await feed.query('select * from cognito_feed.rejects')))).toEqual([]);
  expect(await feed.query('select username from cognito_feed.rejects order by 1')).toEqual([
    { username: 'u1' },
    { username: 'u3' },
  ]);
  // A scan that was under way when the service ended is ended by the next.
  await spawnFeed(['sync'], envOf(feed)).ended;
  await expectRedisClean(feed);
});

test('Invariant 8: sync tells none either, held and rejected or not, nor a failure to log in', async () => {
  const feed = await planted();
  const env = envOf(feed);
  const first = spawnFeed(['sync'], env);
  expect(await first.ended).toMatchObject({ code: 0 });
  for (let i = 0; i < 60; i++) feed.pool.delete(`u${i}`);
  const held = spawnFeed(['sync'], env);
  expect(await held.ended).toMatchObject({ code: 3 });
  const wrongDatabase = spawnFeed(['sync'], { ...env, DATABASE_URL: feed.database.urlAs('nobody', SECRETS.database) });
  const wrongRedis = spawnFeed(['sync'], { ...env, REDIS_URL: redis.server.url.replace(SECRETS.redis, SECRETS.aws) });
  const badSettings = spawnFeed(['sync'], {
    ...env,
    DATABASE_URL: `postgres//${SECRETS.database}@x`,
    REFRESH_TOKEN: '',
  });
  expect((await wrongDatabase.ended).code).toBe(1);
  expect((await wrongRedis.ended).code).toBe(1);
  expect((await badSettings.ended).code).toBe(2);
  for (const { stdout, stderr } of [first, held, wrongDatabase, wrongRedis, badSettings]) {
    expect(stdout + stderr).not.toBe('');
    expect(found(stdout + stderr)).toEqual([]);
  }
  await expectRedisClean(feed);
});
