/** Who delivers, from where, and over what outages: lease, fence, positions, privileges. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { commitChanges, switchTimeline, type WrittenChange } from './change-log-rows.ts';
import { PublishedFeed, QUICK } from './publisher-here.ts';
import { startPostgres } from './servers/postgres.ts';
import { until } from './until.ts';
import { expectOrder, WebhookReceiver } from './webhook-receiver.ts';

const update = (sub: string): WrittenChange => ({
  ...{ op: 'update', sub, username: `n-${sub}`, changed: ['email'] },
  ...{ old: { username: `n-${sub}`, email: null }, new: { username: `n-${sub}`, email: 'x' } },
});

test('sessions that Postgres ends again and again cost repeats at most', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start((_, place) => (place % 7 === 0 ? 500 : 200));
  const publisher = await feed.run(receiver.url);
  for (let n = 0; n < 120; n++) {
    await commitChanges(feed.postgres, [update(`s${n % 9}`), update(`s${(n + 4) % 9}`)]);
    if (n % 6 !== 0) continue;
    await feed.postgres.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cognito-feed publisher' and datname = current_database()`,
    );
  }
  await feed.settled(120);
  expect(new Set(receiver.accepted.map(({ id }) => id)).size).toBe(240);
  expectOrder(receiver);
  expect(await feed.deadLetters()).toEqual([]);
  await until('ready again', () => publisher.readiness.reasons().length === 0);
});

test('a feed that has no slot yet is waited for, and said; the target then begins with it', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start();
  const { rows } = await feed.postgres.query('delete from cognito_feed.slots returning *');
  const publisher = await feed.run(receiver.url);
  await until('its reason', () => publisher.readiness.reasons().some((it) => it.includes('no feed in this database')));
  const [slot] = rows;
  await feed.postgres.query(
    `insert into cognito_feed.slots (pool, target, timeline, state, commit_id, floor) values ($1, $2, $3, 'copying', $4, now())`,
    [slot.pool, slot.target, slot.timeline, slot.commit_id],
  );
  await until('its subscription', () => feed.subscription().catch(() => false as const));
  await commitChanges(feed.postgres, [{ ...update('r'), op: 'read' }]);
  await commitChanges(feed.postgres, [update('a')]);
  await feed.settled(2);
  expect(receiver.received.map(({ message }) => message.lsn)).toEqual([2]);
});

test('one publisher delivers, the other stands by and takes over when the first is gone', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start();
  const first = await feed.run(receiver.url);
  const second = await feed.run(receiver.url);
  expect(second.logged.join('')).toContain('standing by');
  await until('ready', () => second.readiness.reasons().length === 0);
  for (let n = 0; n < 20; n++) await commitChanges(feed.postgres, [update(`s${n}`)]);
  await feed.settled(20);
  expect(receiver.received).toHaveLength(20);
  await first.stop();
  await commitChanges(feed.postgres, [update('last')]);
  await feed.settled(21);
  expect(receiver.received).toHaveLength(21);
  expect(await feed.subscription()).toMatchObject({ fence: 2 });
});

test('whoever lost the lease writes nothing any more: position, pending and dead letters stay the new holder’s', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start();
  const publisher = await feed.run(receiver.url);
  await commitChanges(feed.postgres, [update('a')]);
  await feed.settled(1);
  // As if another had taken over while this one was stopped, and had got further.
  await commitChanges(feed.postgres, [update('a')]);
  await feed.settled(2);
  await feed.postgres.query(
    `update cognito_feed.subscriptions set holder = gen_random_uuid(), fence = fence + 1, lease_until = now() + interval '3 s', confirmed_lsn = 1`,
  );
  await until('the fenced one to notice', () => publisher.logged.some((line) => line.includes('has taken over')));
  expect(await feed.subscription()).toMatchObject({ confirmed_lsn: 1 });
  const { length: before } = receiver.received;
  await commitChanges(feed.postgres, [update('a')]);
  await sleep(300);
  expect(receiver.received).toHaveLength(before);
  // The other one dies; its lease runs out; what it had not confirmed is delivered again.
  await feed.settled(3);
  expect(receiver.received.slice(before).map(({ message }) => message.lsn)).toEqual([2, 3]);
});

test('a position behind the retention, or ahead of the feed, stops the target and names the way on', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start();
  const first = await feed.run(receiver.url);
  for (let n = 0; n < 6; n++) await commitChanges(feed.postgres, [update(`s${n}`)]);
  await feed.settled(6);
  await first.stop();
  for (let n = 0; n < 4; n++) await commitChanges(feed.postgres, [update(`t${n}`)]);
  await feed.postgres.query(
    'delete from cognito_feed.changes where lsn <= 8; update cognito_feed.slots set retention_lsn = 8',
  );
  const { length: before } = receiver.received;
  const second = await feed.run(receiver.url);
  await until('the trouble', () => second.readiness.reasons().some((it) => it.includes('retention')));
  const [reason = ''] = second.readiness.reasons();
  expect(reason).toContain('publisher webhook of');
  expect(reason).toContain('changes up to 8 have left the log');
  const statement = /update cognito_feed\.subscriptions .*?(?=;)/.exec(reason)?.[0] ?? '';
  expect(receiver.received).toHaveLength(before);
  await feed.postgres.query(statement);
  await feed.settled(10);
  expect(
    receiver.received
      .slice(before)
      .map(({ message }) => message.lsn)
      .toSorted(),
  ).toEqual([10, 9]);
  await until('no trouble', () => second.readiness.reasons().length === 0);

  await feed.postgres.query('update cognito_feed.subscriptions set confirmed_lsn = 99');
  await until('the trouble', () => second.readiness.reasons().some((it) => it.includes('ahead of the feed')));
  const anew = /delete from cognito_feed\.subscriptions .*$/.exec(second.readiness.reasons()[0] ?? '')?.[0] ?? '';
  await feed.postgres.query(anew);
  await until(
    'a new start',
    async () =>
      (await feed.postgres.query(`select from cognito_feed.subscriptions where confirmed_lsn = 10`)).rowCount === 1,
  );
});

test('the publisher needs no more than its role', async () => {
  const feed = await PublishedFeed.start(undefined, true);
  const receiver = await WebhookReceiver.start(({ message }) => (message.lsn === 1 ? 410 : 200));
  const role = `cf_publisher_${Math.floor(Math.random() * 1e9)}`;
  await feed.postgres.query(`create role ${role} login password 'x' in role cognito_feed_publisher`);
  try {
    const publisher = await feed.run({ ...feed.env(receiver.url), DATABASE_URL: feed.database.urlAs(role, 'x') });
    await commitChanges(feed.postgres, [update('a')]);
    await commitChanges(feed.postgres, [update('a')]);
    await feed.settled(2);
    expect(receiver.received).toHaveLength(2);
    await publisher.stop();
  } finally {
    await feed.database.drop();
    const admin = await PublishedFeed.start();
    await admin.postgres.query(`drop role ${role}`);
  }
});

test('stops in time though Postgres is frozen and a receiver never answers', async () => {
  const server = await startPostgres();
  onTestFinished(() => server.stop());
  const feed = await PublishedFeed.start(server.url());
  const receiver = await WebhookReceiver.start(() => 'silence');
  const publisher = await feed.run(receiver.url);
  await commitChanges(feed.postgres, [update('a')]);
  await until('a delivery', () => receiver.received.length === 1);
  server.pause();
  try {
    const stoppedAt = performance.now();
    await publisher.stop();
    expect(performance.now() - stoppedAt).toBeLessThan(9_000);
  } finally {
    server.resume();
  }
});

test('a dead receiver costs no more than the limit; the log keeps the rest, and all of it arrives when the receiver is back', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start(() => 500);
  const limits = { mostChanges: 40, mostBytes: 1e6 };
  const first = await feed.run(receiver.url, { ...QUICK, limits });
  for (let n = 0; n < 60; n++) await commitChanges(feed.postgres, [update(`s${n % 11}`), update(`t${n}`)]);
  await until('the limit', async () => (await feed.pending()).length === 40);
  await until('tries', () => receiver.received.length > 60);
  expect(await feed.pending()).toHaveLength(40);
  expect((await feed.subscription()).confirmed_lsn).toBe(20);
  // The next holder takes over what is owed before it reads on.
  await first.stop();
  const { length: before } = receiver.received;
  receiver.behave = () => 200;
  await feed.run(receiver.url, { ...QUICK, limits });
  await feed.settled(60);
  expect(new Set(receiver.received.slice(before).map(({ id }) => id)).size).toBe(120);
  expectOrder(receiver);
});

test('a database that went back in time: what follows is delivered, with other ids though the LSNs are the same', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start();
  await feed.run(receiver.url);
  for (let n = 0; n < 10; n++) await commitChanges(feed.postgres, [update(`s${n}`)]);
  await feed.settled(10);
  // All of it as a backup from after LSN 6 has it; the writer lost its Redis too, so the LSNs come again.
  await feed.postgres.query(`
    begin;
    delete from cognito_feed.changes where lsn > 6;
    update cognito_feed.slots set confirmed_lsn = 6;
    update cognito_feed.subscriptions set confirmed_lsn = 6;
    commit`);
  await switchTimeline(feed.postgres, 6);
  for (let n = 0; n < 10; n++) await commitChanges(feed.postgres, [update(`s${n}`)]);
  await feed.settled(16);
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(20);
  const again = receiver.received.filter(({ message }) => message.lsn > 6 && message.lsn <= 10);
  expect(new Set(again.map(({ id }) => id)).size).toBe(8);
});
