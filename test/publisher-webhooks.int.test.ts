/** Webhooks from change log to receiver: what arrives, what is tried again and what is given up. */
import { lookup } from 'node:dns';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, inject, test } from 'vitest';
import { redeliver } from '../services/publisher/dead-letters.ts';
import { commitChanges, type WrittenChange } from './change-log-rows.ts';
import { PublishedFeed, QUICK } from './publisher-here.ts';
import { until } from './until.ts';
import { expectOrder, type Received, SECRET, WebhookReceiver } from './webhook-receiver.ts';

const CANARY = 'canary@example.com';
const insert = (sub: string): WrittenChange => ({
  op: 'insert',
  sub,
  username: `n-${sub}`,
  new: { username: `n-${sub}`, email: CANARY },
});
const update = (sub: string, changed: string[] = ['email']): WrittenChange => ({
  ...{ op: 'update', sub, username: `n-${sub}`, changed },
  ...{ old: { username: `n-${sub}`, email: null }, new: { username: `n-${sub}`, email: CANARY } },
});
const remove = (sub: string): WrittenChange => ({
  op: 'delete',
  sub,
  username: `n-${sub}`,
  old: { username: `n-${sub}`, email: CANARY },
});
const typesAndSubs = (received: readonly Received[]) =>
  received.map(({ message }) => `${message.type} ${(message.record ?? message.old_record)?.['username']}`);

describe.each(['postgres15', 'postgres18'] as const)('on %s', (server) => {
  test("a change arrives as Supabase's payload with a signature; reads and what was before the target do not", async () => {
    const feed = await PublishedFeed.start(inject(server));
    const receiver = await WebhookReceiver.start();
    await commitChanges(feed.postgres, [insert('before')]);
    const publisher = await feed.run(receiver.url);
    await commitChanges(feed.postgres, [{ ...insert('r'), op: 'read' }]);
    await commitChanges(feed.postgres, [insert('a'), update('b')]);
    await commitChanges(feed.postgres, [remove('c')]);
    await feed.settled(4);
    expect(receiver.received.map(({ message }) => message).toSorted((a, b) => a.lsn - b.lsn || a.seq - b.seq)).toEqual([
      {
        type: 'INSERT',
        table: 'users',
        schema: 'cognito',
        record: { username: 'n-a', email: CANARY },
        old_record: null,
        lsn: 3,
        seq: 0,
        changed: [],
      },
      {
        ...{ type: 'UPDATE', table: 'users', schema: 'cognito', record: { username: 'n-b', email: CANARY } },
        ...{ old_record: { username: 'n-b', email: null }, lsn: 3, seq: 1, changed: ['email'] },
      },
      {
        type: 'DELETE',
        table: 'users',
        schema: 'cognito',
        record: null,
        old_record: { username: 'n-c', email: CANARY },
        lsn: 4,
        seq: 0,
        changed: [],
      },
    ]);
    for (const { id, headers, message } of receiver.received) {
      expect(id).toMatch(new RegExp(`^msg_[0-9a-f]{12}_${feed.timeline}_${message.lsn}_${message.seq}$`));
      expect(headers).toMatchObject({
        'content-type': 'application/json',
        'webhook-timestamp': expect.stringMatching(/^\d{10}$/),
      });
    }
    await until('ready', () => publisher.readiness.reasons().length === 0);
    await publisher.stop();
    expect(await feed.subscription()).toMatchObject({ confirmed_lsn: 4, confirmed_seq: 2_147_483_647 });
  });
});

test('the next publisher goes on where the last one stopped, though nobody ran meanwhile', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start();
  // Longer than the test: only a lease that was given back can be taken.
  const first = await feed.run(receiver.url, { ...QUICK, leaseMs: 600_000 });
  await commitChanges(feed.postgres, [insert('a')]);
  await feed.settled(1);
  await first.stop();
  await commitChanges(feed.postgres, [insert('b'), insert('c')]);
  await feed.run(receiver.url);
  await feed.settled(2);
  expect(receiver.firstArrivals().toSorted()).toEqual(['1:0', '2:0', '2:1']);
  expect(receiver.received).toHaveLength(3);
});

test('what fails is tried again with the same id and body, others go on; first arrivals are in order for each user', async () => {
  const feed = await PublishedFeed.start();
  const answers = [500, 429, 'reset', 302, 404] as const;
  const receiver = await WebhookReceiver.start((_, place) => (place % 3 === 0 ? 200 : (answers[place % 5] ?? 200)));
  await feed.run(receiver.url);
  for (let n = 0; n < 40; n++) await commitChanges(feed.postgres, [update(`s${n % 7}`), update(`s${(n + 3) % 7}`)]);
  await feed.settled(40);
  expect(new Set(receiver.accepted.map(({ id }) => id)).size).toBe(80);
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(80);
  expect(receiver.received.length).toBeGreaterThan(120);
  const bodies = new Map<string, string>();
  for (const { id, body } of receiver.received) {
    expect(bodies.get(id) ?? body).toBe(body);
    bodies.set(id, body);
  }
  expectOrder(receiver);
  expect(await feed.deadLetters()).toEqual([]);
});

test('a username used again: the delete of the old user arrives before the insert of the new one', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start((_, place) => (place < 3 ? 500 : 200));
  await feed.run(receiver.url);
  await commitChanges(feed.postgres, [
    { ...remove('old'), username: 'ann', old: { username: 'ann' } },
    { ...insert('new'), username: 'ann', new: { username: 'ann' } },
  ]);
  await feed.settled(1);
  expect(receiver.received.map(({ message }) => message.type)).toEqual([
    'DELETE',
    'DELETE',
    'DELETE',
    'DELETE',
    'INSERT',
  ]);
});

test('a user whose deliveries fail holds up nobody, and the position passes what is owed to him', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start(({ message }) =>
    message.record?.['username'] === 'n-poison' ? 500 : 200,
  );
  const publisher = await feed.run(receiver.url);
  await commitChanges(feed.postgres, [update('poison')]);
  for (let n = 0; n < 30; n++) await commitChanges(feed.postgres, [update(`s${n}`), update('poison')]);
  await until('the others', () => receiver.accepted.length === 30);
  await until('the position', async () => (await feed.subscription()).confirmed_lsn === 31);
  const owed = await feed.pending();
  expect(owed).toHaveLength(31);
  expect(owed[0]).toMatchObject({ lsn: 1, seq: 0, reason: 'HTTP 500' });
  expect(owed.slice(1).every(({ tries }) => tries === 0)).toBe(true);
  // The next publisher knows of them, tries included, and delivers them in order when the receiver is mended.
  await publisher.stop();
  const tries = (await feed.pending())[0]?.tries ?? 0;
  expect(tries).toBeGreaterThan(2);
  const { length: before } = receiver.received;
  receiver.behave = () => 200;
  await feed.run(receiver.url);
  await feed.settled(31);
  expect(receiver.received.slice(before).map(({ message }) => message.lsn)).toEqual(
    Array.from({ length: 31 }, (_, n) => n + 1),
  );
  expectOrder(receiver);
});

test('when tries are used up there is a dead letter and nothing more; redelivered, it comes with the id it had', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start(({ message }) => (message.lsn === 1 ? 503 : 200));
  const tuning = { ...QUICK, schedule: { firstMs: 10, mostMs: 20, giveUpAfterMs: 500 } };
  const publisher = await feed.run(receiver.url, tuning);
  await commitChanges(feed.postgres, [update('a')]);
  await commitChanges(feed.postgres, [update('a')]);
  await feed.settled(2);
  const [letter, ...more] = await feed.deadLetters();
  expect(more).toEqual([]);
  expect(letter).toMatchObject({ subscription: 'webhook', lsn: 1, seq: 0, reason: 'HTTP 503' });
  expect(letter?.tries).toBeGreaterThan(2);
  expect(receiver.received.filter(({ message }) => message.lsn === 1)).toHaveLength(letter?.tries ?? 0);
  expect(receiver.received.at(-1)?.message.lsn).toBe(2);
  const { length: before } = receiver.received;
  await sleep(150);
  expect(receiver.received).toHaveLength(before);

  receiver.behave = () => 204;
  expect(await redeliver(feed.postgres, letter?.id ?? '', null)).toBe('queued');
  await until('the redelivery', () => receiver.received.length > before);
  await feed.settled(2);
  expect(receiver.received.at(-1)?.id).toBe(receiver.received[0]?.id);
  expect(await feed.deadLetters()).toEqual([]);
  expect(await redeliver(feed.postgres, letter?.id ?? '', null)).toBe('unknown');
  const log = publisher.logged.join('');
  expect(log).toContain('given up');
  for (const secret of [CANARY, SECRET, receiver.url, 'n-a']) expect(log).not.toContain(secret);
});

test('410 Gone is a dead letter at once; one whose change has left the log can not be redelivered', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start(() => 410);
  await feed.run(receiver.url);
  await commitChanges(feed.postgres, [update('a')]);
  await feed.settled(1);
  const [letter] = await feed.deadLetters();
  expect(letter).toMatchObject({ tries: 1, reason: 'HTTP 410: the receiver is gone' });
  await feed.postgres.query('delete from cognito_feed.changes');
  expect(await redeliver(feed.postgres, letter?.id ?? '', null)).toBe('gone');
  expect(await redeliver(feed.postgres, letter?.id ?? '', ['another pool'])).toBe('unknown');
  await feed.postgres.query('delete from cognito_feed.subscriptions');
  expect(await redeliver(feed.postgres, letter?.id ?? '', null)).toBe('no-target');
  expect(await feed.deadLetters()).toHaveLength(1);
});

test('Retry-After is waited for; no answer in time is a failure; a redirect is not followed', async () => {
  const feed = await PublishedFeed.start();
  const elsewhere = await WebhookReceiver.start();
  const receiver = await WebhookReceiver.start((_, place) => {
    const answers = [
      { status: 429, headers: { 'retry-after': '1' } },
      'silence',
      { status: 307, headers: { location: elsewhere.url } },
    ] as const;
    return answers[place] ?? 200;
  });
  const publisher = await feed.run(receiver.url, { ...QUICK, webhookTimeoutMs: 300 });
  await commitChanges(feed.postgres, [update('a')]);
  await feed.settled(1);
  const gaps = receiver.received.map(({ at }, i) => at - (receiver.received[i - 1]?.at ?? at));
  expect(gaps[1]).toBeGreaterThanOrEqual(990);
  expect(gaps[2]).toBeGreaterThanOrEqual(300);
  expect(receiver.received).toHaveLength(4);
  expect(elsewhere.received).toEqual([]);
  expect(publisher.logged.join('')).toContain('no answer within 300 ms');
});

test('several endpoints, each with its filter, position and rotated secret; a dead one holds up nobody', async () => {
  const feed = await PublishedFeed.start();
  const previous = `whsec_${Buffer.alloc(24, 9).toString('base64')}`;
  const all = await WebhookReceiver.start(() => 200, previous);
  const deletes = await WebhookReceiver.start();
  const plans = await WebhookReceiver.start();
  const dead = await WebhookReceiver.start(() => 'silence');
  const endpoint = (name: string, { url }: WebhookReceiver, more: string) =>
    `  - {name: ${name}, url: '${url}', secret: ${SECRET}, allowInsecure: true${more}}\n`;
  const yaml = `webhooks:\n${endpoint('all', all, `, secretPrevious: ${previous}`)}${endpoint('deletes', deletes, ', ops: [delete]')}${endpoint(
    'plans',
    plans,
    ", ops: [update], columns: [status], attributes: ['custom:plan']",
  )}${endpoint('dead', dead, '')}`;
  const publisher = await feed.run({}, QUICK, yaml);
  await until(
    'all targets',
    () => publisher.logged.filter((line) => line.includes('delivering what follows')).length === 4,
  );
  for (let n = 0; n < 10; n++) {
    await commitChanges(feed.postgres, [
      insert(`s${n}`),
      update(`s${n}`),
      update(`s${n}`, ['attributes.custom:plan']),
      remove(`s${n}`),
    ]);
  }
  await until('three of them', async () => {
    const rows = await Promise.all(['all', 'deletes', 'plans'].map((name) => feed.subscription(name)));
    return rows.every(({ confirmed_lsn }) => confirmed_lsn === 10);
  });
  expect(all.received).toHaveLength(40);
  expectOrder(all);
  expect(new Set(typesAndSubs(deletes.received)).size).toBe(10);
  expect(deletes.received.every(({ message }) => message.type === 'DELETE')).toBe(true);
  expect(plans.received).toHaveLength(10);
  expect(plans.received.every(({ message }) => message.changed.includes('attributes.custom:plan'))).toBe(true);
  expect((await feed.subscription('dead')).confirmed_lsn).toBe(0);
});

test('a private address is refused where the connection is made, whatever the name resolved to before', async () => {
  const feed = await PublishedFeed.start();
  const receiver = await WebhookReceiver.start();
  const rebinding = ((hostname: string, options: { all?: boolean }, callback: (...args: unknown[]) => void) => {
    expect(hostname).toBe('hooks.example.com');
    if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }]);
    else callback(null, '127.0.0.1', 4);
  }) as unknown as typeof lookup;
  const tuning = { ...QUICK, schedule: { firstMs: 10, mostMs: 10, giveUpAfterMs: 100 }, lookup: rebinding };
  const url = `https://hooks.example.com:${receiver.port}/`;
  await feed.run({ WEBHOOK_URL: url, WEBHOOK_ALLOW_INSECURE: 'false' }, tuning);
  await commitChanges(feed.postgres, [update('a')]);
  await feed.settled(1);
  expect(await feed.deadLetters()).toMatchObject([{ reason: 'the name resolves to a private address' }]);
  expect(receiver.received).toEqual([]);
  expect(typeof lookup).toBe('function');
});
