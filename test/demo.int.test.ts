/** The demo as a newcomer starts it: what it says, how it ends, and that nothing of it stays. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import { compare, isEqual } from '../services/cli/demo/comparison.ts';
import { withDatabase, withoutPassword } from '../services/cli/demo/own-database.ts';
import { announce } from '../shared/announcement.ts';
import type { MirrorTag } from '../shared/keys.ts';
import { createRedisClient, Redis } from '../shared/redis.ts';
import { redisOfFile, startFeed } from './feed.ts';
import { connected } from './fresh-database.ts';
import { until } from './until.ts';

const CHECKOUT = new URL('..', import.meta.url).pathname;
const SLOW_MS = 120_000;

const redis = redisOfFile();

/** A folder for the demo's temporary files, so that what it leaves can be told from what others have there. */
function ownTmp(): string {
  const path = mkdtempSync(join(tmpdir(), 'demo-test-'));
  // The server's own user, where we are root, must get through.
  chmodSync(path, 0o755);
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Processes that work in the folder, by their ids; none can be seen where there is no /proc. */
function processesIn(path: string): string[] {
  const ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return ids.filter((id) => {
    try {
      return readlinkSync(`/proc/${id}/cwd`).startsWith(path);
    } catch {
      return false;
    }
  });
}

interface Demo {
  readonly child: ChildProcess;
  readonly tmp: string;
  output(): string;
  ended(): Promise<number | null>;
}

function startDemo(args: readonly string[], env: Readonly<Record<string, string>> = {}): Demo {
  const tmp = ownTmp();
  const child = spawn(process.execPath, ['--import', 'tsx', 'services/cli/main.ts', 'demo', ...args], {
    cwd: CHECKOUT,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], TMPDIR: tmp, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const closed = once(child, 'close') as Promise<[number | null]>;
  return { child, tmp, output: () => output, ended: async () => (await closed)[0] };
}

function expectNothingLeft({ tmp }: Demo): void {
  // tsx keeps its cache of compiled files there.
  expect(readdirSync(tmp).filter((name) => !name.startsWith('tsx-') && !name.startsWith('node-compile-cache'))).toEqual(
    [],
  );
  expect(processesIn(tmp)).toEqual([]);
}

test('--once: two side by side fill, change, compare, sum up and leave nothing behind', {
  timeout: SLOW_MS,
}, async () => {
  const demos = [startDemo(['--once', '--users', '250']), startDemo(['--once', '--users', '1'])];
  const codes = await Promise.all(demos.map((demo) => demo.ended()));
  for (const [i, demo] of demos.entries()) {
    const output = demo.output();
    expect({ code: codes[i], output }).toMatchObject({ code: 0 });
    expect(output).toMatch(/^ {2}initial copy +█+ +\d+ users +\d+\.\d s/m);
    expect(output).toMatch(/^ {2}changes +200 made in the pool, all applied$/m);
    expect(output).toMatch(/^ {2}latency +median \d+\.\d\d s, p95 \d+\.\d\d s/m);
    expect(output).toMatch(/^ {2}comparison +equal: \d+ rows, column by column$/m);
    // No terminal: no colour, nothing drawn over, and no log.
    expect(output).not.toContain('\u001b');
    expect(output).not.toContain('\r');
    expect(output).not.toContain('"level"');
    expectNothingLeft(demo);
  }
});

test('live, on servers of somebody else: SIGINT ends it with 0, and they are as they were', {
  timeout: SLOW_MS,
}, async () => {
  const client = createRedisClient({ url: redis.server.url, ca: null });
  onTestFinished(() => client.disconnect());
  await client.set('somebody', 'else');
  await announce(new Redis(client), {
    ...{ tag: '{cf-another}' as MirrorTag, pool: 'another', target: 'cognito.users' },
    ...{ timeline: null, state: 'copying', users: 0 },
  });
  await client.hset('cognito-feed:budget:{eu-west-1}', 'factor', '1');
  const keysBefore = (await client.keys('*')).toSorted();
  const postgres = connected(inject('postgres15'));
  const databases = async () => {
    const { rows } = await postgres.query<{ name: string }>(
      `select datname as name from pg_database where datname like 'cognito_feed_demo%'`,
    );
    return rows.map(({ name }) => name);
  };

  const demo = startDemo(['--users', '300'], { REDIS_URL: redis.server.url, DATABASE_URL: inject('postgres15') });
  await until('a change', () => /\d\d:\d\d:\d\d {2}\S+ .* \d+\.\d\d s$/m.test(demo.output()), demo.output, 60_000);
  const [own, ...others] = await databases();
  expect(others).toEqual([]);
  expect(demo.output()).toContain(`psql ${withoutPassword(withDatabase(inject('postgres15'), own ?? ''))}\n`);
  expect(demo.output()).not.toContain(new URL(inject('postgres15')).password);
  const mirrored = await connected(withDatabase(inject('postgres15'), own ?? '')).query('select from cognito.users');
  expect(mirrored.rowCount).toBeGreaterThan(250);
  expect((await client.keys('*')).length).toBeGreaterThan(keysBefore.length);

  const stoppedAt = performance.now();
  demo.child.kill('SIGINT');
  expect({ code: await demo.ended(), output: demo.output() }).toMatchObject({ code: 0 });
  expect(performance.now() - stoppedAt).toBeLessThan(10_000);
  expect(demo.output()).toMatch(/gone\n$/);
  expect(await databases()).toEqual([]);
  expect((await client.keys('*')).toSorted()).toEqual(keysBefore);
  expectNothingLeft(demo);
});

test('SIGINT while it is still starting ends it with 0, too', { timeout: SLOW_MS }, async () => {
  const demo = startDemo([]);
  await until('its first line', () => demo.output().includes('cognito-feed'), demo.output);
  demo.child.kill('SIGINT');
  expect({ code: await demo.ended(), output: demo.output() }).toMatchObject({ code: 0 });
  expectNothingLeft(demo);
});

test('a server that is not there is one line and 1', async () => {
  const demo = startDemo(['--once'], { DATABASE_URL: 'postgres://nobody:a-database-password@127.0.0.1:1/none' });
  expect(await demo.ended()).toBe(1);
  expect(demo.output()).toMatch(/^cognito-feed: .*ECONNREFUSED.*$/m);
  expect(demo.output()).not.toContain('a-database-password');
  expectNothingLeft(demo);
});

test('the comparison sees a missing, a superfluous and a different row, column by column', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(40);
  const synced = await feed.sync();
  expect(synced, synced.stderr).toMatchObject({ code: 0 });
  const equal = await compare(feed.pool, feed.postgres);
  expect(equal).toEqual({ users: 40, missing: 0, ghosts: 0, different: 0, examples: [] });
  expect(isEqual(equal)).toBe(true);

  const names = (await feed.query<{ username: string }>('select username from cognito.users order by username')).map(
    ({ username }) => username,
  );
  const columns = [
    ...[`email = email || '.'`, `status = 'UNKNOWN'`, 'enabled = not enabled', `attributes = attributes - 1`],
    ...[`created_at = created_at + interval '1 ms'`, `updated_at = null`],
  ];
  for (const [i, assignment] of columns.entries()) {
    const changed = await feed.query(
      `update cognito.users set ${assignment} where username = (select username from cognito.users
       where email is not null and username > $1 order by username limit 1) returning username`,
      [names[i * 5] ?? ''],
    );
    expect(changed.length).toBe(1);
  }
  await feed.query('delete from cognito.users where username = (select max(username) from cognito.users)');
  await feed.query(`insert into cognito.users (username) values ('a ghost')`);
  const found = await compare(feed.pool, feed.postgres);
  expect(found).toMatchObject({ users: 40, missing: 1, ghosts: 1, different: columns.length });
  expect(found.examples).toContain('a ghost');
  expect(isEqual(found)).toBe(false);
});
