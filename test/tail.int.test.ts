/** The commands tail, webhooks and publisher as processes: what they print, when, and how they end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, onTestFinished, test } from 'vitest';
import { commitChanges, POOL, type WrittenChange } from './change-log-rows.ts';
import { PublishedFeed } from './publisher-here.ts';
import { until } from './until.ts';
import { WebhookReceiver } from './webhook-receiver.ts';

const CHECKOUT = new URL('..', import.meta.url).pathname;
const change = (n: number): WrittenChange => ({
  ...{ op: 'update', sub: `s${n}`, username: `ü${n}`, changed: ['email', 'attributes.email'] },
  ...{ old: { username: `ü${n}`, email: null }, new: { username: `ü${n}`, email: 'x' } },
});

class Cli {
  stdout = '';
  stderr = '';
  readonly child: ChildProcess;
  readonly #exited: Promise<unknown[]>;

  constructor(feed: PublishedFeed, args: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, ['--import', 'tsx', 'services/cli/main.ts', ...args], {
      cwd: CHECKOUT,
      env: {
        PATH: process.env['PATH'],
        COGNITO_USER_POOL_ID: POOL,
        DATABASE_URL: feed.database.url,
        HTTP_PORT: '',
        ...env,
      },
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#exited = once(this.child, 'close');
    onTestFinished(async () => {
      this.child.kill('SIGKILL');
      await this.#exited;
    });
  }

  get lines(): Record<string, unknown>[] {
    return this.stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  }

  async exit(): Promise<number | null> {
    await this.#exited;
    return this.child.exitCode;
  }
}

const positions = (cli: Cli) => cli.lines.map(({ lsn, seq }) => `${lsn}:${seq}`);

describe('tail', () => {
  test('prints what is kept and ends; after an LSN only what follows; in the form and key order of the contract', async () => {
    const feed = await PublishedFeed.start();
    await commitChanges(feed.postgres, [{ op: 'read', sub: 's', username: 'u', new: { username: 'u' } }, change(1)]);
    await commitChanges(feed.postgres, [change(2)]);
    const all = new Cli(feed, ['tail']);
    const rest = new Cli(feed, ['tail', '--after', '1']);
    const none = new Cli(feed, ['tail', '--after', '2']);
    expect([await all.exit(), await rest.exit(), await none.exit()]).toEqual([0, 0, 0]);
    expect(positions(all)).toEqual(['1:0', '1:1', '2:0']);
    expect(all.lines[0]).toMatchObject({ op: 'read', new: { username: 'u' }, old: null });
    expect(positions(rest)).toEqual(['2:0']);
    expect(none.stdout).toBe('');
    expect(all.stderr + rest.stderr + none.stderr).toBe('');
    const [line] = rest.lines;
    expect(Object.keys(line ?? {})).toEqual([
      'pool',
      'timeline',
      'lsn',
      'seq',
      'op',
      'username',
      'sub',
      'changed',
      'old',
      'new',
      'committedAt',
    ]);
    expect(line).toEqual({
      ...{ pool: POOL, timeline: feed.timeline, lsn: 2, seq: 0, op: 'update', username: 'ü2', sub: 's2' },
      ...{
        changed: ['email', 'attributes.email'],
        old: { username: 'ü2', email: null },
        new: { username: 'ü2', email: 'x' },
      },
      committedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    });
  });

  test('--follow: within a second of the commit, over an outage of its connection, until SIGTERM', async () => {
    const feed = await PublishedFeed.start();
    await commitChanges(feed.postgres, [change(0)]);
    const fromNow = new Cli(feed, ['tail', '--follow']);
    const cli = new Cli(feed, ['tail', '--follow', '--after', '0']);
    await until('the first', () => cli.lines.length === 1);
    const sessions = () =>
      feed.postgres.query(
        `select pid from pg_stat_activity where application_name = 'cognito-feed tail' and datname = current_database()`,
      );
    await until('both to be connected', async () => (await sessions()).rowCount === 2);
    const latencies: number[] = [];
    for (let n = 1; n <= 8; n++) {
      // Long enough for its back-off to reach the most.
      await new Promise((resolve) => setTimeout(resolve, 100 * n));
      await commitChanges(feed.postgres, [change(n)]);
      const committedAt = performance.now();
      await until('its line', () => cli.lines.length === n + 1);
      latencies.push(performance.now() - committedAt);
    }
    expect(Math.max(...latencies)).toBeLessThan(1_000);
    await feed.postgres.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cognito-feed tail' and datname = current_database()`,
    );
    await commitChanges(feed.postgres, [change(9)]);
    await until('the line after the outage', () => cli.lines.length === 10);
    expect(positions(cli)).toEqual(Array.from({ length: 10 }, (_, n) => `${n + 1}:0`));
    await until('the other', () => fromNow.lines.length === 9);
    expect(positions(fromNow)[0]).toBe('2:0');
    for (const one of [cli, fromNow]) {
      const stoppedAt = performance.now();
      one.child.kill('SIGTERM');
      expect(await one.exit()).toBe(0);
      expect(performance.now() - stoppedAt).toBeLessThan(5_000);
    }
  });

  test('says when its position is ahead of the feed or behind the retention, and exits 1; bad usage is 2', async () => {
    const feed = await PublishedFeed.start();
    for (let n = 0; n < 5; n++) await commitChanges(feed.postgres, [change(n)]);
    await feed.postgres.query(
      'delete from cognito_feed.changes where lsn <= 3; update cognito_feed.slots set retention_lsn = 3',
    );
    const ahead = new Cli(feed, ['tail', '--after', '6', '--follow']);
    const behind = new Cli(feed, ['tail', '--after', '2']);
    const oldest = new Cli(feed, ['tail']);
    const bad = new Cli(feed, ['tail', '--after', '-1']);
    const off = new Cli(feed, ['tail'], { CHANGE_RETENTION: '' });
    const nobody = new Cli(feed, ['tail'], { COGNITO_USER_POOL_ID: 'nobody' });
    expect(await Promise.all([ahead, behind, oldest, bad, off, nobody].map((cli) => cli.exit()))).toEqual([
      1, 1, 0, 2, 2, 1,
    ]);
    expect(ahead.stderr).toMatch(/^cognito-feed: position 6 is ahead of the feed of .* which ends at 5: [^\n]*\n$/);
    expect(behind.stderr).toMatch(
      /^cognito-feed: position 2 is behind the retention .* up to 3 have left the log\. What is left begins with --after 3\n$/,
    );
    expect(positions(oldest)).toEqual(['4:0', '5:0']);
    expect(bad.stderr).toContain('--after');
    expect(off.stderr).toContain('CHANGE_RETENTION is empty');
    expect(nobody.stderr).toContain('no feed in this database');
  });

  test('ends quietly in a pipe that nobody reads any more', async () => {
    const feed = await PublishedFeed.start();
    for (let n = 0; n < 20; n++)
      await commitChanges(
        feed.postgres,
        Array.from({ length: 50 }, (_, i) => change(i)),
      );
    const cli = new Cli(feed, ['tail', '--after', '0', '--follow']);
    await until('a line', () => cli.stdout.includes('\n'));
    cli.child.stdout?.destroy();
    const ended = cli.exit();
    const timer = setInterval(() => void commitChanges(feed.postgres, [change(1)]).catch(() => undefined), 50);
    expect(await ended).toBe(0);
    clearInterval(timer);
    expect(cli.stderr).not.toMatch(/EPIPE|rror/);
  });
});

describe('the publisher and its dead letters', () => {
  test('delivers, ends 0 at SIGTERM in time; webhooks list shows what was given up, redeliver brings it', async () => {
    const feed = await PublishedFeed.start();
    const receiver = await WebhookReceiver.start(({ message }) => (message.lsn === 1 ? 410 : 200));
    const env = feed.env(receiver.url) as Record<string, string>;
    const publisher = new Cli(feed, ['publisher'], env);
    await until(
      'its target',
      () => publisher.stderr.includes('delivering what follows'),
      () => publisher.stderr,
    );
    await commitChanges(feed.postgres, [change(1)]);
    await commitChanges(feed.postgres, [change(2)]);
    await feed.settled(2);
    // One that never answers must not keep it.
    receiver.behave = () => 'silence';
    await commitChanges(feed.postgres, [change(3)]);
    await until('the third', () => receiver.received.length === 3);
    const stoppedAt = performance.now();
    publisher.child.kill('SIGTERM');
    expect(await publisher.exit()).toBe(0);
    expect(performance.now() - stoppedAt).toBeLessThan(9_000);
    expect((await feed.subscription()).confirmed_lsn).toBe(2);

    const list = new Cli(feed, ['webhooks', 'list']);
    const json = new Cli(feed, ['webhooks', 'list', '--json']);
    expect([await list.exit(), await json.exit()]).toEqual([0, 0]);
    const [letter] = await feed.deadLetters();
    const id = letter?.id ?? '';
    expect(list.stdout).toMatch(
      new RegExp(`^${id}\\twebhook\\t${POOL}\\tlsn 1 seq 0\\t1 tries\\t[^\\t]*Z\\tHTTP 410: the receiver is gone\\n$`),
    );
    expect(json.lines).toMatchObject([
      { id: Number(id), subscription: 'webhook', lsn: 1, seq: 0, tries: 1, redeliverable: true },
    ]);

    const redeliver = new Cli(feed, ['webhooks', 'redeliver', id, '999']);
    const bad = new Cli(feed, ['webhooks', 'redeliver', 'x']);
    expect([await redeliver.exit(), await bad.exit()]).toEqual([1, 2]);
    expect(redeliver.stdout).toBe(`${id}: will be delivered by the publisher that runs, or the next one to run\n`);
    expect(redeliver.stderr).toBe('999: there is no such dead letter\n');
    receiver.behave = () => 200;
    const { length: before } = receiver.received;
    const next = new Cli(feed, ['publisher'], env);
    await feed.settled(3);
    expect(
      receiver.received
        .slice(before)
        .map(({ message }) => message.lsn)
        .toSorted(),
    ).toEqual([1, 3]);
    next.child.kill('SIGTERM');
    expect(await next.exit()).toBe(0);
  });

  test('a stopped publisher that wakes up moves nothing and repeats nothing out of order', async () => {
    const feed = await PublishedFeed.start();
    const receiver = await WebhookReceiver.start();
    const env = feed.env(receiver.url) as Record<string, string>;
    const first = new Cli(feed, ['publisher'], env);
    await until(
      'its target',
      () => first.stderr.includes('delivering what follows'),
      () => first.stderr,
    );
    for (let n = 0; n < 5; n++) await commitChanges(feed.postgres, [change(1)]);
    await feed.settled(5);
    first.child.kill('SIGSTOP');
    const second = new Cli(feed, ['publisher'], env);
    for (let n = 0; n < 5; n++) await commitChanges(feed.postgres, [change(1)]);
    // After the 10 s of the first one's lease.
    await feed.settled(10);
    first.child.kill('SIGCONT');
    await until(
      'the first one to notice',
      () => first.stderr.includes('has taken over'),
      () => first.stderr,
    );
    await commitChanges(feed.postgres, [change(1)]);
    await feed.settled(11);
    expect(receiver.firstArrivals()).toEqual(Array.from({ length: 11 }, (_, n) => `${n + 1}:0`));
    expect(receiver.received).toHaveLength(11);
    expect(second.stderr).toContain('delivering what follows');
  });
});
