/**
 * The hostile pool emulator: an HTTP server that speaks AWS JSON 1.1 as the Cognito user pools API does, truthful unless told otherwise.
 * Protocol: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sendFailure, sendJson } from './answer.ts';
import { CognitoError } from './cognito-error.ts';
import { control } from './control.ts';
import { FailureRules, type RequestFacts } from './failure-rules.ts';
import { Faults } from './faults.ts';
import { listUsers } from './list-users.ts';
import { operations } from './operations.ts';
import { PageTokens } from './page-token.ts';
import { Pool, type PoolOptions } from './pool.ts';
import { Quotas } from './quota.ts';
import { Random } from './random.ts';
import { RequestRecord } from './request-record.ts';

export interface EmulatorOptions {
  /** Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** Default 0: a free one. */
  readonly port?: number | undefined;
  /** Default: one pool with default options. */
  readonly pools?: readonly PoolOptions[] | undefined;
  /** All chance comes from it. Default 1. */
  readonly seed?: number | string | undefined;
  /** The clock of dates, tokens, lag and quotas, in ms since the epoch. Default Date.now. */
  readonly now?: (() => number) | undefined;
}

const TARGET = 'AWSCognitoIdentityProviderService.';
const CONTROL_PATH = '/__control';
/** The largest request that any operation needs is some 150 KB. */
const MAX_REQUEST_BYTES = 1_048_576;

export class Emulator {
  readonly faults = new Faults();
  readonly record = new RequestRecord();
  readonly seed: number | string;
  readonly #now: () => number;
  readonly #pools = new Map<string, Pool>();
  readonly #server: Server;
  readonly #tokens: PageTokens;
  readonly #random: Random;
  readonly #latency: Random;
  readonly #quotas: Quotas;
  readonly #failures: FailureRules;
  #endpoint = '';

  private constructor({ seed = 1, now = Date.now, pools = [{}] }: EmulatorOptions) {
    this.seed = seed;
    this.#now = now;
    this.#tokens = new PageTokens(seed);
    this.#random = new Random(`${seed}/pages`);
    this.#latency = new Random(`${seed}/latency`);
    this.#quotas = new Quotas(this.faults, now);
    this.#failures = new FailureRules(this.faults, new Random(`${seed}/failures`));
    for (const options of pools) this.createPool(options);
    this.#server = createServer((request, response) => void this.#receive(request, response));
    // Clients close idle connections themselves: otherwise the two ends race, and a request now and then fails that no fault was set for.
    this.#server.keepAliveTimeout = 0;
    this.#server.requestTimeout = 0;
  }

  static async start(options: EmulatorOptions = {}): Promise<Emulator> {
    const emulator = new Emulator(options);
    const host = options.host ?? '127.0.0.1';
    emulator.#server.listen(options.port ?? 0, host);
    await once(emulator.#server, 'listening');
    const { port } = emulator.#server.address() as AddressInfo;
    emulator.#endpoint = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
    return emulator;
  }

  /** Such as `http://127.0.0.1:40123`. */
  get endpoint(): string {
    return this.#endpoint;
  }

  /** What the SDK's client needs to speak to this emulator: `new CognitoIdentityProviderClient(emulator.clientConfig)`. */
  get clientConfig(): {
    endpoint: string;
    region: string;
    credentials: { accessKeyId: string; secretAccessKey: string };
  } {
    return {
      endpoint: this.endpoint,
      region: this.pool().id.split('_')[0] ?? 'eu-west-1',
      credentials: { accessKeyId: 'emulated', secretAccessKey: 'emulated' },
    };
  }

  /** @param id default: the first pool. @throws RangeError for an unknown one */
  pool(id?: string): Pool {
    const pool = id === undefined ? this.#pools.values().next().value : this.#pools.get(id);
    if (pool === undefined) throw new RangeError(`no such pool: ${id}`);
    return pool;
  }

  pools(): Pool[] {
    return [...this.#pools.values()];
  }

  /** @throws RangeError where the id is taken */
  createPool(options: PoolOptions = {}): Pool {
    const pool = new Pool(options, this.faults, this.#now, this.seed);
    if (this.#pools.has(pool.id)) throw new RangeError(`pool ${pool.id} exists`);
    this.#pools.set(pool.id, pool);
    return pool;
  }

  /** From then on it is answered for by ResourceNotFoundException. */
  deletePool(id: string): void {
    this.#pools.delete(id);
  }

  /** Cuts all connections, unanswered ones too. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const body = await bodyOf(request);
      if (request.url?.startsWith(CONTROL_PATH)) await control(this, request, body, response);
      else await this.#serve(request, body, response);
    } catch (error) {
      if (response.destroyed || response.headersSent) return;
      sendJson(response, new CognitoError('InternalErrorException', String(error)));
    }
  }

  async #serve(request: IncomingMessage, body: string, response: ServerResponse): Promise<void> {
    const target = request.headers['x-amz-target'];
    const operation = typeof target === 'string' && target.startsWith(TARGET) ? target.slice(TARGET.length) : '';
    this.record.began(operation);
    response.once('close', () => this.record.ended());
    const parsed = parsedOf(body);
    const facts = factsOf(operation, parsed);
    this.#note(facts, parsed);

    if (!this.#quotas.admits(operation)) {
      this.#answer(response, new CognitoError('TooManyRequestsException', 'Rate exceeded'));
      return;
    }
    const failure = this.#failures.next(facts);
    const halfLatency = this.#halfLatencyMs();
    if (halfLatency > 0) await elapsed(halfLatency);
    if (failure !== undefined && failure.kind !== 'drop-middle') {
      this.record.answered(failure.kind === 'error' ? failure.error : failure.kind);
      sendFailure(response, failure);
      return;
    }
    const answer = this.#perform(operation, parsed, facts);
    if (halfLatency > 0) await elapsed(halfLatency);
    if (failure === undefined) this.#answer(response, answer);
    else {
      this.record.answered(failure.kind);
      sendFailure(response, failure, answer);
    }
  }

  #answer(response: ServerResponse, answer: string | CognitoError): void {
    this.record.answered(typeof answer === 'string' ? 'ok' : answer.name);
    sendJson(response, answer);
  }

  #perform(operation: string, parsed: unknown, facts: RequestFacts): string | CognitoError {
    try {
      if (parsed === undefined) throw new CognitoError('SerializationException', 'not a JSON object');
      const handler = operations[operation];
      if (handler === undefined && operation !== 'ListUsers') {
        throw new CognitoError('UnknownOperationException', `the emulator does not know ${operation}`);
      }
      const pool = this.#poolOf(parsed, facts);
      const context = { faults: this.faults, tokens: this.#tokens, random: this.#random, now: this.#now };
      if (handler === undefined) return listUsers(pool, parsed, context);
      return handler(parsed, { ...context, pool });
    } catch (error) {
      return error instanceof CognitoError ? error : new CognitoError('InternalErrorException', String(error));
    }
  }

  #poolOf(request: unknown, { pool: id }: RequestFacts): Pool {
    const { ClientId } = request as { ClientId?: unknown };
    const byClient = id === undefined && this.pools().find(({ clientId }) => clientId === ClientId);
    const pool = byClient || this.#pools.get(id ?? '');
    if (pool !== undefined) return pool;
    const message =
      id === undefined ? `User pool client ${ClientId} does not exist.` : `User pool ${id} does not exist.`;
    throw new CognitoError('ResourceNotFoundException', message);
  }

  #note({ operation, pool = '', filter, token }: RequestFacts, parsed: object | undefined): void {
    const { Limit, Username } = (parsed ?? {}) as { Limit?: unknown; Username?: unknown };
    if (operation === 'ListUsers') {
      this.record.listed({ pool, filter, limit: typeof Limit === 'number' ? Limit : undefined, continued: token });
    }
    if (operation === 'AdminGetUser') this.record.lookedUp(String(Username));
  }

  #halfLatencyMs(): number {
    const { ms, jitterMs } = this.faults.settings.latency;
    if (ms === 0 && jitterMs === 0) return 0;
    return Math.max(0, ms + (2 * this.#latency.next() - 1) * jitterMs) / 2;
  }
}

function factsOf(operation: string, parsed: object | undefined): RequestFacts {
  const { UserPoolId, Filter, PaginationToken } = (parsed ?? {}) as Record<string, unknown>;
  return {
    operation,
    pool: typeof UserPoolId === 'string' ? UserPoolId : undefined,
    filter: typeof Filter === 'string' ? Filter : undefined,
    token: PaginationToken !== undefined,
  };
}

function parsedOf(body: string): object | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined;
  } catch {
    return undefined;
  }
}

function bodyOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_REQUEST_BYTES) chunks.push(chunk);
      else reject(new RangeError('the request is too large'));
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    request.on('error', reject);
  });
}

const elapsed = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
