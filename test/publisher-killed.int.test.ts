/** Issue 4: a receiver that fails at random, and a publisher killed with -9 again and again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { PublisherTuning } from '../services/publisher/target-publisher.ts';
import { commitChanges, type WrittenChange } from './change-log-rows.ts';
import { Random } from './emulator/random.ts';
import { PublishedFeed } from './publisher-here.ts';
import { until } from './until.ts';
import { type Answer, expectOrder, WebhookReceiver } from './webhook-receiver.ts';

const CHECKOUT = new URL('..', import.meta.url).pathname;
const COMMITS = 250;
const USERS = 40;
const KILLS = 14;

/** Two at a time, so that each death finds a heir standing by. */
class Publishers {
  readonly #env: NodeJS.ProcessEnv;
  #children: ChildProcess[] = [];
  #active: ChildProcess | undefined;
  output = '';

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
    onTestFinished(() => this.killAll());
  }

  start(): void {
    const child = spawn(process.execPath, ['--import', 'tsx', 'test/fixtures/publisher.ts'], {
      cwd: CHECKOUT,
      env: { PATH: process.env['PATH'], ...this.#env },
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.output += chunk;
      if (chunk.includes('delivering what follows')) this.#active = child;
    });
    this.#children.push(child);
  }

  /** Of the one that has the lease. */
  async killActive(): Promise<void> {
    const child = await until(
      'one that delivers',
      () => this.#active,
      () => this.output.slice(-3_000),
    );
    this.#active = undefined;
    this.#children = this.#children.filter((other) => other !== child);
    await kill(child);
  }

  async killAll(): Promise<void> {
    await Promise.all(this.#children.splice(0).map(kill));
  }
}

async function kill(child: ChildProcess): Promise<void> {
  expect(child.exitCode).toBeNull();
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

test('every change arrives, first arrivals in order for each user, repeats with the same id; the hopeless end as dead letters', async () => {
  const feed = await PublishedFeed.start();
  const random = new Random('killed/receiver');
  const moods: Answer[] = [
    500,
    429,
    { status: 503, headers: { 'retry-after': '0' } },
    'reset',
    'silence',
    200,
    200,
    200,
    200,
    200,
    200,
    200,
  ];
  const receiver = await WebhookReceiver.start(async ({ message }) => {
    await sleep(random.next() * 20);
    if (message.record?.['username'] === 'hopeless') return 500;
    return moods[Math.floor(random.next() * moods.length)] ?? 200;
  });
  const tuning: PublisherTuning = {
    schedule: { firstMs: 30, mostMs: 500, giveUpAfterMs: 600_000 },
    leaseMs: 700,
    webhookTimeoutMs: 400,
  };
  const env = {
    ...feed.env(receiver.url),
    HTTP_PORT: '',
    LOG_FORMAT: 'json',
    PUBLISHER_TUNING: JSON.stringify(tuning),
  };
  const publishers = new Publishers(env);
  publishers.start();
  publishers.start();
  await until(
    'a subscription',
    async () => (await feed.postgres.query('select from cognito_feed.subscriptions')).rowCount === 1,
    () => publishers.output,
  );

  const change = (n: number): WrittenChange => {
    const username = `user-${Math.floor(random.next() * USERS)}`;
    return { op: 'update', sub: username, username, changed: ['email'], old: { username }, new: { username, n } };
  };
  let total = 0;
  const committing = (async () => {
    for (let n = 0; n < COMMITS; n++) {
      const changes = Array.from({ length: 1 + (n % 3) }, () => change(n));
      if (n === 20) changes.push({ op: 'insert', sub: 'h', username: 'hopeless', new: { username: 'hopeless' } });
      total += changes.length;
      await commitChanges(feed.postgres, changes);
      await sleep(110);
    }
  })();
  for (let n = 0; n < KILLS; n++) {
    await sleep(random.next() * 900);
    await publishers.killActive();
    publishers.start();
  }
  await committing;
  await until(
    'all but the hopeless',
    () => new Set(receiver.accepted.map(({ id }) => id)).size === total - 1,
    () => publishers.output.slice(-3_000),
    90_000,
  );
  await until('the position', async () => (await feed.subscription()).confirmed_lsn === COMMITS);

  // Everything arrived, marked as what it is.
  const { rows } = await feed.postgres.query<{ position: string }>(
    `select lsn || ':' || seq as position from cognito_feed.changes where username <> 'hopeless'`,
  );
  expect(receiver.firstArrivals(receiver.accepted).toSorted()).toEqual(rows.map(({ position }) => position).toSorted());
  const ids = new Map<string, string>();
  for (const { id, message } of receiver.received) {
    const position = `${message.lsn}:${message.seq}`;
    expect(ids.get(position) ?? id).toBe(id);
    ids.set(position, id);
  }
  expect(new Set(ids.values()).size).toBe(total);
  expectOrder(receiver);
  // There were tries again, all under the same ids; whether one that had been accepted was sent again is the kills' luck.
  expect(receiver.received.length).toBeGreaterThan(total);
  expect((await feed.subscription()).fence).toBeGreaterThanOrEqual(KILLS);
  const [owed, ...others] = await until('the owed', async () => {
    const pending = await feed.pending();
    return pending.length === 1 && pending;
  });
  expect(others).toEqual([]);
  expect(owed?.tries).toBeGreaterThan(10);

  // Its tries used up: a dead letter, and nothing more.
  await publishers.killAll();
  await sleep(tuning.leaseMs ?? 0);
  await feed.postgres.query(
    `update cognito_feed.pending_deliveries set first_tried_at = first_tried_at - interval '1 day'`,
  );
  publishers.start();
  const [letter] = await until('a dead letter', async () => {
    const letters = await feed.deadLetters();
    return letters.length > 0 && letters;
  });
  expect(letter).toMatchObject({ subscription: 'webhook', reason: 'HTTP 500' });
  expect(await feed.pending()).toEqual([]);
  const { length: before } = receiver.received;
  await sleep(1_500);
  expect(receiver.received).toHaveLength(before);
}, 180_000);
