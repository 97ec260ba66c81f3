/** CONTRACT, "Commands" and "Settings": what a start refuses, and what it waits for. */

import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { HalfOpenProxy } from './emulator/half-open-proxy.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { type FeedProcess, get, spawnFeed } from './feed-process.ts';
import { freshDatabase } from './fresh-database.ts';
import { freePort } from './servers/free-port.ts';
import { startRedis } from './servers/redis.ts';

const redis = redisOfFile();
const LINE = /^cognito-feed: [^\n]+\n$/;

/** The pool's, the database's or Redis's way, which can be shut. */
async function door(url: string): Promise<{ url: string; proxy: HalfOpenProxy }> {
  const target = new URL(url);
  const proxy = await HalfOpenProxy.start({ host: target.hostname, port: Number(target.port) });
  onTestFinished(() => proxy.stop());
  const through = new URL(url);
  through.port = String(proxy.port);
  return { url: through.href, proxy };
}

type Server = 'Postgres' | 'Redis' | 'Cognito';
const SETTING = {
  Postgres: 'DATABASE_URL',
  Redis: 'REDIS_URL',
  Cognito: 'AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER',
} as const;

/** A feed's settings with one server behind a door. */
async function behindDoor(feed: Feed, server: Server) {
  const url = feed.env[SETTING[server]] ?? '';
  const { url: through, proxy } = await door(url);
  const port = await freePort();
  return {
    proxy,
    port,
    env: {
      ...feed.env,
      [SETTING[server]]: through,
      HTTP_PORT: String(port),
      POLL_INTERVAL: '200ms',
      LOG_LEVEL: 'info',
    },
  };
}

async function unready(service: FeedProcess, port: number): Promise<string> {
  const answer = await service.until('/readyz to fail', async () => {
    const found = await get(port, '/readyz');
    return found?.status === 503 && found;
  });
  return answer.body;
}

const REASONS: Readonly<Record<Server, RegExp>> = {
  Postgres: /writer of eu-west-1_EMULATED1: .*(does not answer|refused|connection)/i,
  Redis: /poller of eu-west-1_EMULATED1: .+/,
  Cognito: /poller of eu-west-1_EMULATED1: .*(scan|read) the pool: .+/,
};

describe.each(['Postgres', 'Redis', 'Cognito'] as const)('%s away at the start', (server) => {
  test('the service waits, /readyz says why, and a signal ends it with 0', async () => {
    const feed = await startFeed({ redis });
    feed.pool.fill(50);
    const { proxy, port, env } = await behindDoor(feed, server);
    await proxy.refuse();
    const service = spawnFeed(['run'], env);
    await service.until('a reason', async () => REASONS[server].test(await unready(service, port)));
    expect(await get(port, '/healthz')).toMatchObject({ status: 200 });
    const { ms, code } = await service.endAfter(() => service.signal('SIGTERM'));
    expect(code, service.stderr).toBe(0);
    expect(ms).toBeLessThan(10_000);
  });

  test('the service begins by itself when it comes', async () => {
    const feed = await startFeed({ redis });
    feed.pool.fill(50);
    const { proxy, port, env } = await behindDoor(feed, server);
    await proxy.refuse();
    const service = spawnFeed(['run'], env);
    await service.until('a reason', async () => REASONS[server].test(await unready(service, port)));
    await proxy.pass();
    await service.until('readiness', async () => (await get(port, '/readyz'))?.status === 200);
    await service.until(
      'the copy',
      async () => (await feed.query('select from cognito_feed.slots where as_of is not null')).length > 0,
    );
    await feed.expectMirrorEqualsPool();
    expect(await service.endAfter(() => service.signal('SIGTERM'))).toMatchObject({ code: 0 });
  });
});

// Cognito is given 20 s and more: a one-shot command sits out a moment's throttling.
test('sync waits for nobody for long: exit 1 in one line, whichever server is away', { timeout: 150_000 }, async () => {
  const feed = await startFeed({ redis });
  const syncs = await Promise.all(
    (['Postgres', 'Redis', 'Cognito'] as const).map(async (server) => {
      const { proxy, env } = await behindDoor(feed, server);
      await proxy.refuse();
      const sync = spawnFeed(['sync'], { ...env, LOG_LEVEL: 'fatal' });
      return { server, ...(await sync.ended), line: sync.stderr };
    }),
  );
  expect(syncs).toEqual([
    { server: 'Postgres', code: 1, signal: null, line: expect.stringMatching(/^cognito-feed: .*ECONNREFUSED.*\n$/) },
    { server: 'Redis', code: 1, signal: null, line: expect.stringMatching(/^cognito-feed: .*Redis.*\n$/) },
    {
      server: 'Cognito',
      code: 1,
      signal: null,
      line: expect.stringMatching(/^eu-west-1_EMULATED1: the scan is not complete: .*ECONNREFUSED.*\n$/),
    },
  ]);
});

describe('refused at the start, in one line', () => {
  test('an HTTP port that is taken: exit 1', async () => {
    const feed = await startFeed({ redis });
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const services = ['run', 'writer', 'poller'].map((command) =>
      spawnFeed([command], { ...feed.env, HTTP_PORT: String(port), LOG_LEVEL: 'error' }),
    );
    for (const service of services) {
      expect(await service.ended).toMatchObject({ code: 1 });
      expect(service.stderr).toMatch(LINE);
      expect(service.stderr).toContain(String(port));
    }
    server.close();
  });

  test.for(['postgres15', 'postgres18'] as const)('a database that is not migrated: exit 1, on %s', async (major) => {
    const feed = await startFeed({ redis });
    const bare = await freshDatabase(inject(major));
    const services = ['run', 'writer', 'sync'].map((command) =>
      spawnFeed([command], { ...feed.env, DATABASE_URL: bare.url, LOG_LEVEL: 'error' }),
    );
    for (const service of services) {
      expect(await service.ended).toMatchObject({ code: 1 });
      expect(service.stderr).toMatch(LINE);
      expect(service.stderr).toContain('cognito-feed migrate');
    }
  });

  test('bad settings: exit 2, all of them named, before anything is connected', async () => {
    let connections = 0;
    const server = createServer((socket) => {
      connections++;
      socket.destroy();
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const env = {
      COGNITO_USER_POOL_ID: 'eu-west-1_X',
      AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
      DATABASE_URL: `postgres://127.0.0.1:${port}/x`,
      REDIS_URL: `redis://127.0.0.1:${port}`,
      POLL_INTERVAL: 'often',
      MAX_QUEUED_CHANGES: '-1',
    };
    const services = ['run', 'writer', 'poller', 'sync', 'migrate'].map((command) => spawnFeed([command], env));
    for (const service of services) {
      expect(await service.ended).toMatchObject({ code: 2 });
      expect(service.stderr).toMatch(/POLL_INTERVAL is "often"[\s\S]*MAX_QUEUED_CHANGES is "-1"/);
    }
    expect(connections).toBe(0);
    server.close();
  });

  test('settings that are missing: exit 2', async () => {
    const service = spawnFeed(['sync'], {});
    expect(await service.ended).toMatchObject({ code: 2 });
    for (const name of ['COGNITO_USER_POOL_ID', 'DATABASE_URL', 'REDIS_URL'])
      expect(service.stderr).toContain(`${name} is missing`);
  });
});

test('a Redis that may throw keys away is complained of', async () => {
  const evicting = await startRedis({ maxmemory: '64mb', settings: { 'maxmemory-policy': 'allkeys-lru' } });
  onTestFinished(() => evicting.stop());
  const feed = await startFeed({ redis: { server: evicting } });
  feed.pool.fill(10);
  await feed.sync();
  expect(feed.logged.some((line) => line.includes('"level":"error"') && line.includes('noeviction'))).toBe(true);
});
