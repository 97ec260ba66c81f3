/** Issue 4: EventBridge against moto: PutEvents → rule → SQS, the events compared with the change log one by one; partial failures by a faulty proxy. */
import {
  CloudWatchEventsClient,
  CreateEventBusCommand,
  PutRuleCommand,
  PutTargetsCommand,
} from '@aws-sdk/client-cloudwatch-events';
import {
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { commitChanges, type WrittenChange } from '../change-log-rows.ts';
import { Random } from '../emulator/random.ts';
import { PublishedFeed, QUICK } from '../publisher-here.ts';
import { type PutEntry, startFaultyBus } from './faulty-bus.ts';
import { startMoto } from './moto.ts';
import { CREDENTIALS, type Peer, REGION } from './peer.ts';

/** moto takes 0.2 s for each event that a rule hands on. */
const COMMITS = 14;
const FAULTY_COMMITS = 50;
const PATIENCE_MS = 150_000;

let moto: Peer;
beforeAll(async () => {
  process.env['AWS_ACCESS_KEY_ID'] ??= CREDENTIALS.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] ??= CREDENTIALS.secretAccessKey;
  moto = await startMoto();
});
afterAll(() => moto?.stop());

interface BusEvent {
  readonly source: string;
  readonly 'detail-type': string;
  readonly detail: Record<string, unknown>;
}

/** A bus of its own with a rule for our source, whose target is a queue. @returns what has arrived there, so far */
async function busWithQueue(name: string, source: string): Promise<() => Promise<BusEvent[]>> {
  const aws = { region: REGION, endpoint: moto.endpoint, credentials: CREDENTIALS };
  const sqs = new SQSClient(aws);
  const { QueueUrl = '' } = await sqs.send(new CreateQueueCommand({ QueueName: name }));
  const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['QueueArn'] }));
  const events = new CloudWatchEventsClient(aws);
  await events.send(new CreateEventBusCommand({ Name: name }));
  await events.send(
    new PutRuleCommand({ Name: name, EventBusName: name, EventPattern: JSON.stringify({ source: [source] }) }),
  );
  await events.send(
    new PutTargetsCommand({
      Rule: name,
      EventBusName: name,
      Targets: [{ Id: 'queue', Arn: Attributes?.['QueueArn'] ?? '' }],
    }),
  );
  const arrived: BusEvent[] = [];
  return async () => {
    for (;;) {
      const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10 }));
      if (Messages.length === 0) return arrived;
      arrived.push(...Messages.map(({ Body = '' }) => JSON.parse(Body) as BusEvent));
      const Entries = Messages.map(({ ReceiptHandle = '' }, i) => ({ Id: String(i), ReceiptHandle }));
      await sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
    }
  };
}

const settings = (bus: string, endpoint: string, more: Record<string, string> = {}) => ({
  ...{ WEBHOOK_URL: '', EVENT_BUS_NAME: bus, AWS_REGION: REGION },
  ...{ AWS_ENDPOINT_URL_CLOUDWATCH_EVENTS: endpoint, ...more },
});

const keyOf = (detail: Record<string, unknown>) => `${detail['lsn']}:${detail['seq']}`;
const detailOf = (entry: PutEntry) => JSON.parse(entry.Detail) as Record<string, unknown>;
const TYPES: Record<string, string> = { insert: 'Inserted', update: 'Updated', delete: 'Deleted' };

/** What the change log says each event must hold. */
async function wanted(feed: PublishedFeed, values: boolean) {
  const { rows } = await feed.postgres.query(
    `select pool, timeline::text as timeline, lsn::int as lsn, seq, op, username, sub, changed, old, new, committed_at from cognito_feed.changes
     where op <> 'read' order by lsn, seq`,
  );
  return rows.map(({ committed_at, old, new: now, ...rest }) => ({
    ...rest,
    ...(values ? { old, new: now } : {}),
    committedAt: (committed_at as Date).toISOString(),
  }));
}

function changesOf(random: Random, n: number): WrittenChange[] {
  const one = (): WrittenChange => {
    const username = `user-${Math.floor(random.next() * 25)}`;
    const op = (['insert', 'update', 'delete'] as const)[Math.floor(random.next() * 3)] ?? 'update';
    const row = { username, email: 'canary@example.com', n };
    return {
      ...{ op, sub: username, username, changed: op === 'update' ? ['email'] : [] },
      ...{ old: op === 'insert' ? null : row, new: op === 'delete' ? null : row },
    };
  };
  return Array.from({ length: 1 + (n % 4) }, one);
}

test('each change becomes one event with the detail of the contract, values only when asked for; reads none', async () => {
  for (const values of [false, true]) {
    const feed = await PublishedFeed.start(inject('postgres18'));
    const name = `plain-${values}`;
    const arrived = await busWithQueue(name, 'cognito-feed');
    const publisher = await feed.run(settings(name, moto.endpoint, { EVENT_VALUES: String(values) }), QUICK);
    const random = new Random(name);
    await commitChanges(feed.postgres, [{ op: 'read', sub: 'r', new: { username: 'r' } }]);
    for (let n = 0; n < COMMITS; n++) await commitChanges(feed.postgres, changesOf(random, n));
    await feed.settled(COMMITS + 1, 'eventbridge', PATIENCE_MS);
    const events = await arrived();
    expect(
      events
        .map(({ detail }) => detail)
        .toSorted((a, b) => Number(a['lsn']) - Number(b['lsn']) || Number(a['seq']) - Number(b['seq'])),
    ).toEqual(await wanted(feed, values));
    for (const event of events) {
      expect(event.source).toBe('cognito-feed');
      expect(event['detail-type']).toBe(`Cognito User ${TYPES[String(event.detail['op'])]}`);
    }
    expect(JSON.stringify(events).includes('canary')).toBe(values);
    await publisher.stop();
    expect(publisher.logged.join('')).not.toContain('canary');
  }
});

test('partial failures: only what failed is sent again, in order for each user; what can not be mended is a dead letter', async () => {
  const feed = await PublishedFeed.start(inject('postgres18'));
  const arrived = await busWithQueue('faulty', 'mine');
  const bus = await startFaultyBus(moto.endpoint);
  const random = new Random('faulty');
  const hopeless = (entry: PutEntry) => detailOf(entry)['username'] === 'user-7';
  bus.faults = {
    entry(entry) {
      if (hopeless(entry)) return 'MalformedDetail';
      const dice = random.next();
      return dice < 0.12 ? 'InternalFailure' : dice < 0.24 ? 'ThrottlingException' : null;
    },
    request() {
      const dice = random.next();
      return dice < 0.1 ? 'throttled' : dice < 0.15 ? 'reset' : dice < 0.25 ? 'answer lost' : 'none';
    },
  };
  await feed.run(settings('faulty', bus.endpoint, { EVENT_SOURCE: 'mine' }), QUICK);
  for (let n = 0; n < FAULTY_COMMITS; n++) await commitChanges(feed.postgres, changesOf(random, n));
  await feed.settled(FAULTY_COMMITS, 'eventbridge', PATIENCE_MS);

  const log = await wanted(feed, false);
  const mended = log.filter(({ username }) => username !== 'user-7');
  const events = await arrived();
  const byKey = new Map(events.map(({ detail }) => [keyOf(detail), detail]));
  expect(
    [...byKey.values()].toSorted((a, b) => Number(a['lsn']) - Number(b['lsn']) || Number(a['seq']) - Number(b['seq'])),
  ).toEqual(mended);

  const letters = await feed.deadLetters();
  expect(letters.map(keyOf as never)).toEqual(log.filter(({ username }) => username === 'user-7').map(keyOf));
  for (const letter of letters)
    expect(letter).toMatchObject({
      subscription: 'eventbridge',
      reason: 'EventBridge refuses the event: MalformedDetail',
    });

  // An entry that must wait holds back the later ones of its user: none was even sent before it had got through.
  const sent = bus.requests.flat().map(detailOf);
  for (const username of new Set(sent.map((detail) => detail['username']))) {
    const mine = [...new Set(sent.filter((detail) => detail['username'] === username).map(keyOf))];
    expect(mine).toEqual(log.filter((change) => change.username === username).map(keyOf));
  }
  expect(Math.max(...bus.requests.map(({ length }) => length))).toBeGreaterThan(1);
  expect(Math.max(...bus.requests.map(({ length }) => length))).toBeLessThanOrEqual(10);
  for (const request of bus.requests) {
    const users = request.map((entry) => detailOf(entry)['username']);
    expect(new Set(users).size).toBe(users.length);
  }
  // What went through and was answered was not sent again.
  const repeats = bus.passed.length - new Set(bus.passed.map((entry) => keyOf(detailOf(entry)))).size;
  expect(repeats).toBeGreaterThan(0);
  expect(repeats).toBeLessThan(bus.passed.length / 4);
});

test('a bus that is away holds up nobody else and nothing is lost; an event that is too large is a dead letter', async () => {
  const feed = await PublishedFeed.start(inject('postgres18'));
  const arrived = await busWithQueue('away', 'cognito-feed');
  const bus = await startFaultyBus(moto.endpoint);
  bus.faults = { entry: () => null, request: () => 'reset' };
  await feed.run(settings('away', bus.endpoint, { EVENT_VALUES: 'true' }), QUICK);
  const large = { username: 'large', note: 'x'.repeat(1_100_000) };
  await commitChanges(feed.postgres, [{ op: 'insert', sub: 'large', username: 'large', new: large }]);
  for (let n = 0; n < 12; n++) {
    await commitChanges(feed.postgres, [
      { op: 'insert', sub: `b${n}`, username: `b${n}`, new: { note: 'ü'.repeat(40_000) } },
    ]);
  }
  const [letter] = await feed.deadLetters();
  if (letter !== undefined) expect(letter.reason).toContain('an event may have');
  bus.faults = { entry: () => null, request: () => 'none' };
  await feed.settled(13, 'eventbridge', PATIENCE_MS);
  expect(await feed.deadLetters()).toMatchObject([
    { lsn: 1, tries: 1, reason: expect.stringContaining('an event may have 1000000') },
  ]);
  expect(new Set((await arrived()).map(({ detail }) => keyOf(detail))).size).toBe(12);
  const bytes = bus.requests.map((entries) => entries.reduce((sum, entry) => sum + Buffer.byteLength(entry.Detail), 0));
  expect(Math.max(...bytes)).toBeLessThan(256_000);
});
