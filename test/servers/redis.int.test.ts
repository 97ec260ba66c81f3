import { existsSync } from 'node:fs';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { startRedis } from './redis.ts';
import { findRedis } from './redis-binary.ts';

describe('a Redis', () => {
  const opened: { stop(): unknown }[] = [];
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.stop();
  });

  async function start(options?: Parameters<typeof startRedis>[0]) {
    const server = await startRedis(options);
    opened.push(server);
    return server;
  }

  function connect(url: string): Redis {
    const client = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 20 });
    client.on('error', () => {});
    opened.push({ stop: () => client.disconnect() });
    return client;
  }

  test('evicts nothing, listens on loopback alone, and is empty', async () => {
    const client = connect((await start()).url);
    expect(await client.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
    expect(await client.config('GET', 'bind')).toEqual(['bind', '127.0.0.1']);
    expect(await client.dbsize()).toBe(0);
  });

  test('takes a limit, a password and any other setting', async () => {
    const server = await start({ maxmemory: '64mb', password: 'p@ss:w/rd', settings: { databases: '2' } });
    const client = connect(server.url);
    expect(await client.config('GET', 'maxmemory')).toEqual(['maxmemory', String(64 * 1024 * 1024)]);
    expect(await client.config('GET', 'databases')).toEqual(['databases', '2']);
    const stranger = connect(`redis://127.0.0.1:${server.port}`);
    await expect(stranger.get('x')).rejects.toThrow('NOAUTH');
  });

  test('comes back empty on the same port after kill -9, and with its data where it appends', async () => {
    for (const appendOnly of [false, true]) {
      const server = await start({ appendOnly, settings: { appendfsync: 'always' } });
      const client = connect(server.url);
      await client.set('kept', '1');
      const { pid, port } = server;
      await server.kill();
      expect(server.running).toBe(false);
      await server.start();
      expect(server.pid).not.toBe(pid);
      expect(server.port).toBe(port);
      expect(await client.get('kept')).toBe(appendOnly ? '1' : null);
    }
  });

  test('answers nobody while it is paused, and everybody after', async () => {
    const server = await start();
    const client = connect(server.url);
    await client.ping();
    server.pause();
    let answered = false;
    const answer = client.ping().finally(() => {
      answered = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(answered).toBe(false);
    server.resume();
    expect(await answer).toBe('PONG');
  });

  test('leaves neither process nor folder after stop', async () => {
    const server = await start();
    const { pid, folder } = server;
    expect(existsSync(folder)).toBe(true);
    await server.stop();
    expect(existsSync(folder)).toBe(false);
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });
});

describe('a machine without Redis', () => {
  beforeEach(() => {
    vi.stubEnv('PATH', '/nowhere');
    // As an ordinary user: root on Debian would get it installed.
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  test('is told in one line how to get it', async () => {
    const error = await findRedis().catch((reason: Error) => reason);
    expect(error).toBeInstanceOf(Error);
    expect((error as Error).message).toMatch(/^redis-server is missing: install .*apt-get install redis-server/);
    expect((error as Error).message).not.toContain('\n');
  });
});
