/** The whole way: a pool, its mirror, the change log and a webhook, in one `run`. */
import { expect, test } from 'vitest';
import { churn } from './emulator/churn.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { until } from './until.ts';
import { type Behaviour, expectOrder, SECRET, WebhookReceiver } from './webhook-receiver.ts';

const redis = redisOfFile();
const DELIVERING: Parameters<Feed['run']>[0] & { delivers: boolean } = { delivers: true };

async function deliveringFeed(behave?: Behaviour) {
  const receiver = await WebhookReceiver.start(behave);
  const settings = { WEBHOOK_URL: receiver.url, WEBHOOK_SECRET: SECRET, WEBHOOK_ALLOW_INSECURE: 'true' };
  const feed = await startFeed({ redis, settings });
  const steps = churn(feed.pool, { seed: 'delivered' });
  const change = (count: number) => {
    for (let n = 0; n < count; n++) steps.next();
  };
  return { receiver, feed, change };
}

const logged = (feed: Feed) =>
  feed.query<{
    lsn: number;
    seq: number;
    type: string;
    record: object | null;
    old_record: object | null;
    changed: string[];
  }>(
    `select lsn::int, seq, upper(op) as type, new as record, old as old_record, changed from cognito_feed.changes where op <> 'read' order by lsn, seq`,
  );

const settled = (feed: Feed) =>
  until('the position', async () => {
    const rows = await feed.query(
      `select from cognito_feed.subscriptions s join cognito_feed.slots using (pool, confirmed_lsn)
       where not exists (select from cognito_feed.pending_deliveries)`,
    );
    return rows.length === 1;
  });

test('the initial copy is silent, each change arrives once, a resync sends nothing', async () => {
  const { receiver, feed, change } = await deliveringFeed();
  feed.pool.fill(500);
  const running = feed.run(DELIVERING);
  await feed.scan();
  await settled(feed);
  expect(receiver.received).toEqual([]);
  change(80);
  await feed.scan();
  await settled(feed);
  const { timeline } = await feed.slot();
  await feed.redis.client.flushall();
  await until('another timeline', async () => {
    const slot = await feed.slot();
    return slot.timeline !== timeline && slot.resync_reason === null;
  });
  await feed.scan();
  await settled(feed);
  const { length: before } = receiver.received;
  expect(before).toBe((await logged(feed)).length);
  change(40);
  await feed.scan();
  await settled(feed);
  const wanted = (await logged(feed)).map((row) => ({ ...row, table: 'users', schema: 'cognito' }));
  const messages = receiver.received.map(({ message }) => message).toSorted((a, b) => a.lsn - b.lsn || a.seq - b.seq);
  expect(messages).toEqual(wanted);
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(wanted.length);
  expectOrder(receiver);
  expect(running.readiness.reasons()).toEqual([]);
  await running.stop();
  expect(feed.logged.join('')).not.toContain(SECRET);
}, 90_000);

test('a receiver that never answers holds up neither scan nor writer', async () => {
  const { receiver, feed, change } = await deliveringFeed(() => 'silence');
  feed.pool.fill(300);
  const running = feed.run(DELIVERING);
  await feed.scan();
  for (let round = 0; round < 5; round++) {
    change(60);
    const startedAt = performance.now();
    expect((await feed.scan()).complete).toBe(true);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  }
  await feed.expectMirrorEqualsPool({ anyAttributeOrder: true });
  await until('tries', () => receiver.received.length >= 4);
  expect(receiver.accepted).toEqual([]);
  const stoppedAt = performance.now();
  await running.stop();
  expect(performance.now() - stoppedAt).toBeLessThan(9_500);
}, 90_000);
