/**
 * The service's own small HTTP server: `/healthz`, `/readyz`, `/metrics`, `/`, and routes it is given. Everything has a limit.
 */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { UserFacingError } from './errors.ts';
import type { Logger } from './log.ts';

export interface Reply {
  readonly status: number;
  /** An object is sent as JSON. */
  readonly body: string | object;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface HttpRoute {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** A longer body is answered by 413, unread. */
  readonly maxBodyBytes: number;
  handle(request: { readonly headers: IncomingHttpHeaders; readonly body: Buffer }): Reply | Promise<Reply>;
}

/** prom-client's registry, as far as it is used. */
export interface Metrics {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export interface HttpOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly metrics: Metrics;
  /** Why the service can't do its work now, one line each; empty: it can. */
  readonly notReady: () => readonly string[] | Promise<readonly string[]>;
  /** What only a restart would mend; empty: alive. */
  readonly notAlive?: () => readonly string[];
  /** HTML. */
  readonly statusPage?: () => Promise<string>;
  readonly routes?: readonly HttpRoute[];
}

export interface HttpServer {
  readonly port: number;
  /** Answers what is under way, for two seconds at most. */
  close(): Promise<void>;
}

const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 5_000;
const MOST_CONNECTIONS = 256;
const CLOSE_GRACE_MS = 2_000;
/** How much of a body that is too long is read and thrown away, so that its sender gets to read the answer. */
const DISCARDED_BYTES = 1_048_576;
/** The page is one file: nothing from elsewhere. */
const PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'";

/**
 * @throws UserFacingError where host and port can't be had
 */
export async function startHttp(options: HttpOptions, log: Logger): Promise<HttpServer> {
  const routes = [...ownRoutes(options), ...(options.routes ?? [])];
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS },
    (request, response) => {
      answer(routes, request)
        .catch((error: unknown) => {
          // The client went away in the middle: nobody to answer, nothing wrong here.
          if (!request.complete) throw error;
          log.error({ err: error, path: pathOf(request) }, 'a request failed');
          return { status: 500, body: { error: 'internal error' } };
        })
        .then((reply) => send(request, response, reply))
        .catch(() => response.destroy());
    },
  );
  server.maxConnections = MOST_CONNECTIONS;
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  return { port, close: () => close(server) };
}

function listen(server: Server, { host, port }: HttpOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(refusal(error, host, port)));
    server.listen(port, host, resolve);
  });
}

function refusal(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const reason = {
    EADDRINUSE: 'is taken by another process; set HTTP_PORT to a free one (empty: no HTTP server)',
    EACCES: 'may not be used by this user; set HTTP_PORT to one above 1023 (empty: no HTTP server)',
    EADDRNOTAVAIL: 'is no address of this machine; set HTTP_HOST',
    ENOTFOUND: 'has a host without an address; set HTTP_HOST',
  }[error.code ?? ''];
  return new UserFacingError(
    `${address} ${reason ?? `can't be listened on (${error.code}); set HTTP_HOST and HTTP_PORT`}`,
    1,
    { cause: error },
  );
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const force = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  await closed;
  clearTimeout(force);
}

function ownRoutes({ metrics, notReady, notAlive, statusPage }: HttpOptions): HttpRoute[] {
  const get = (path: string, handle: HttpRoute['handle']): HttpRoute => ({
    method: 'GET',
    path,
    maxBodyBytes: 0,
    handle,
  });
  const routes = [
    get('/healthz', () => verdict('status', 'alive', 'dead', notAlive?.() ?? [])),
    get('/readyz', async () => verdict('status', 'ready', 'not ready', await notReady())),
    get('/metrics', async () => ({
      status: 200,
      body: await metrics.metrics(),
      headers: { 'content-type': metrics.contentType },
    })),
  ];
  if (statusPage === undefined) return routes;
  const headers = { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': PAGE_POLICY };
  return [...routes, get('/', async () => ({ status: 200, body: await statusPage(), headers }))];
}

function verdict(key: string, good: string, bad: string, reasons: readonly string[]): Reply {
  return reasons.length === 0 ? { status: 200, body: { [key]: good } } : { status: 503, body: { [key]: bad, reasons } };
}

async function answer(routes: readonly HttpRoute[], request: IncomingMessage): Promise<Reply> {
  const path = pathOf(request);
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  const here = routes.filter((route) => route.path === path);
  const route = here.find((candidate) => candidate.method === method);
  if (here.length === 0) return { status: 404, body: { error: 'not found' } };
  if (route === undefined) {
    return {
      status: 405,
      body: { error: 'method not allowed' },
      headers: { allow: here.map((it) => it.method).join(', ') },
    };
  }
  const body = await readBody(request, route.maxBodyBytes);
  if (body === null)
    return {
      status: 413,
      body: { error: `the body is longer than ${route.maxBodyBytes} bytes` },
      headers: { connection: 'close' },
    };
  return await route.handle({ headers: request.headers, body });
}

const pathOf = (request: IncomingMessage): string => (request.url ?? '/').replace(/[?#].*$/s, '');

/** @returns null where it is too long */
async function readBody(request: IncomingMessage, most: number): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= most) chunks.push(chunk);
    // Left unread, not destroyed: the answer still has to go out on this connection.
    else if (bytes > most + DISCARDED_BYTES) break;
  }
  return bytes > most ? null : Buffer.concat(chunks);
}

function send(request: IncomingMessage, response: ServerResponse, { status, body, headers }: Reply): void {
  const isText = typeof body === 'string';
  const content = Buffer.from(isText ? body : `${JSON.stringify(body)}\n`);
  response.writeHead(status, {
    'content-type': isText ? 'text/plain; charset=utf-8' : 'application/json',
    'content-length': content.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : content);
}
