import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { UserFacingError } from './errors.ts';
import { type HttpOptions, type HttpServer, startHttp } from './http.ts';
import { createLog } from './log.ts';

const lines: string[] = [];
const log = createLog({ logFormat: 'json', to: { write: (line) => void lines.push(line) } });
const metrics = { contentType: 'text/plain; version=0.0.4', metrics: async () => 'cognito_feed_up 1\n' };
const open: HttpServer[] = [];

async function start(options: Partial<HttpOptions> = {}): Promise<string> {
  const server = await startHttp({ host: '127.0.0.1', port: 0, metrics, notReady: () => [], ...options }, log);
  open.push(server);
  return `http://127.0.0.1:${server.port}`;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

describe('the HTTP server', () => {
  it('is alive and ready, or says why not', async () => {
    let reasons: string[] = [];
    let dead: string[] = [];
    const url = await start({ notReady: async () => reasons, notAlive: () => dead });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    reasons = ['postgres: nothing answers there', 'redis: out of memory'];
    dead = ['stuck'];
    const notReady = await fetch(`${url}/readyz?verbose`);
    expect([notReady.status, await notReady.json()]).toEqual([503, { status: 'not ready', reasons }]);
    expect((await fetch(`${url}/healthz`)).status).toBe(503);
  });

  it('gives metrics, and a page only where there is one', async () => {
    const bare = await start();
    expect((await fetch(bare)).status).toBe(404);
    const url = await start({ statusPage: async () => '<!doctype html><title>cognito-feed</title>' });
    const page = await fetch(url);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    const scraped = await fetch(`${url}/metrics`);
    expect(scraped.headers.get('content-type')).toBe(metrics.contentType);
    expect(await scraped.text()).toBe('cognito_feed_up 1\n');
    expect((await fetch(`${url}/metrics`, { method: 'HEAD' })).headers.get('content-length')).toBe('18');
  });

  it('refuses other paths and methods', async () => {
    const url = await start();
    expect((await fetch(`${url}/nothing`)).status).toBe(404);
    const wrong = await fetch(`${url}/readyz`, { method: 'DELETE' });
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET']);
  });

  it('reads a body up to its limit and answers 413 beyond it', async () => {
    const url = await start({
      routes: [
        {
          method: 'POST',
          path: '/refresh',
          maxBodyBytes: 1_000,
          handle: ({ body }) => ({ status: 202, body: { bytes: body.length } }),
        },
      ],
    });
    const post = (bytes: number) => fetch(`${url}/refresh`, { method: 'POST', body: Buffer.alloc(bytes) });
    expect(await (await post(1_000)).json()).toEqual({ bytes: 1_000 });
    expect((await post(1_001)).status).toBe(413);
    expect((await post(900_000)).status).toBe(413);
  });

  it('gives up on a body without end', async () => {
    const url = await start({
      routes: [{ method: 'POST', path: '/refresh', maxBodyBytes: 10, handle: () => ({ status: 202, body: '' }) }],
    });
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const sent = request(`${url}/refresh`, { method: 'POST' }, (response) => {
        sent.destroy();
        resolve(response.statusCode);
      });
      sent.on('error', (error: NodeJS.ErrnoException) =>
        error.code === 'ECONNRESET' || error.code === 'EPIPE' ? resolve(413) : reject(error),
      );
      const more = (): void => {
        if (!sent.destroyed) sent.write(Buffer.alloc(65_536), () => setImmediate(more));
      };
      more();
    });
    expect(status).toBe(413);
  });

  it('answers 500 without a word about the error', async () => {
    const url = await start({
      notReady: () => {
        throw new Error('CANARY');
      },
    });
    const reply = await fetch(`${url}/readyz`);
    expect([reply.status, await reply.text()]).toEqual([500, '{"error":"internal error"}\n']);
    expect(lines.join('')).toContain('a request failed');
    expect(lines.join('')).not.toContain('CANARY');
  });

  it('names host, port and setting where the port is taken', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    const refused = await startHttp({ host: '127.0.0.1', port, metrics, notReady: () => [] }, log).catch(
      (error: unknown) => error,
    );
    expect(refused).toBeInstanceOf(UserFacingError);
    expect(refused).toMatchObject({ exitCode: 1, message: expect.stringContaining(`127.0.0.1:${port} is taken`) });
    expect((refused as Error).message).toContain('HTTP_PORT');
    await new Promise((resolve) => taken.close(resolve));
  });

  it('closes at once past idle connections, and past a request that never ends', async () => {
    const url = await start({
      routes: [{ method: 'GET', path: '/slow', maxBodyBytes: 0, handle: () => new Promise<never>(() => {}) }],
    });
    await fetch(`${url}/healthz`);
    const idle = connect(Number(new URL(url).port), '127.0.0.1');
    await new Promise<void>((resolve) => idle.once('connect', resolve));
    idle.on('error', () => {});
    const stuck = fetch(`${url}/slow`).then(
      () => 'answered',
      () => 'cut off',
    );
    await new Promise((resolve) => setImmediate(resolve));
    const startedAt = performance.now();
    await open.pop()?.close();
    expect(performance.now() - startedAt).toBeLessThan(4_000);
    expect(await stuck).toBe('cut off');
  });
});
