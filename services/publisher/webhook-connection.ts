/**
 * HTTP to one receiver: connections kept alive, one time limit for all of a request, redirects left alone, and no way to a private address: the address
 * is looked at where the connection is made, so a name that resolves to another one by then (DNS rebinding) gets nowhere.
 */
import { lookup as dnsLookup } from 'node:dns';
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import { isPrivateAddress, isPrivateHost } from '../../shared/private-address.ts';

export interface WebhookConnectionOptions {
  readonly url: string;
  /** Allows plain http and private addresses. */
  readonly allowInsecure: boolean;
  readonly connections: number;
  /** Connecting, sending and waiting for the answer's head together. */
  readonly timeoutMs: number;
  /** Node's own, unless a test has another. */
  readonly lookup?: typeof dnsLookup;
}

export interface Answer {
  readonly status: number;
  /** The header, as it came. */
  readonly retryAfter: string | undefined;
}

/** The receiver's address is one that no webhook may go to. */
export class ForbiddenAddress extends Error {
  override readonly name = 'ForbiddenAddress';
}

/** No answer in time. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/** Of an answer's body nothing is wanted; a longer one than this costs its connection. */
const MOST_BODY_BYTES = 65_536;

export class WebhookConnection {
  readonly #options: WebhookConnectionOptions;
  readonly #url: URL;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(options: WebhookConnectionOptions) {
    this.#options = options;
    this.#url = new URL(options.url);
    const keepAlive = { keepAlive: true, maxSockets: options.connections };
    this.#agent = this.#url.protocol === 'https:' ? new HttpsAgent(keepAlive) : new HttpAgent(keepAlive);
  }

  /**
   * @throws ForbiddenAddress, NoAnswer, an AbortError at the signal, or what the network throws
   */
  async post(body: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer> {
    const { allowInsecure, timeoutMs } = this.#options;
    if (!allowInsecure && (this.#url.protocol !== 'https:' || isPrivateHost(this.#url.hostname)))
      throw new ForbiddenAddress('plain http, or a private address');
    const cut = new AbortController();
    const timer = setTimeout(() => cut.abort(new NoAnswer(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const stop = () => cut.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    const over = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    };
    try {
      return await this.#send(body, headers, cut.signal, over).catch((error: unknown) => {
        // The receiver closed an idle connection just when it was used again: not a failure of this delivery.
        if (!(error instanceof StaleConnection)) throw error;
        return this.#send(body, headers, cut.signal, over);
      });
    } catch (error) {
      over();
      throw cut.signal.aborted ? cut.signal.reason : error;
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  /** @param over called when the answer's body has ended too */
  #send(
    body: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    over: () => void,
  ): Promise<Answer> {
    const content = Buffer.from(body);
    const { allowInsecure, lookup = dnsLookup } = this.#options;
    return new Promise((resolve, reject) => {
      const request: ClientRequest = (this.#url.protocol === 'https:' ? httpsRequest : httpRequest)(this.#url, {
        method: 'POST',
        agent: this.#agent,
        signal,
        headers: { ...headers, 'content-length': content.length },
        lookup: allowInsecure ? (lookup as LookupFunction) : publicOnly(lookup),
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        reject(request.reusedSocket && error.code === 'ECONNRESET' ? new StaleConnection('', { cause: error }) : error);
      });
      request.on('response', (response) => {
        response.on('close', over);
        discard(response);
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'] });
      });
      request.end(content);
    });
  }
}

class StaleConnection extends Error {
  override readonly name = 'StaleConnection';
}

/** The connection is free again when the body has been read; the request's signal ends one that never ends. */
function discard(response: IncomingMessage): void {
  let bytes = 0;
  response.on('error', () => undefined);
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MOST_BODY_BYTES) response.destroy();
  });
}

/** A look-up that fails where any of a name's addresses is private. */
function publicOnly(lookup: typeof dnsLookup): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, '');
      if (addresses.some(({ address }) => isPrivateAddress(address)))
        return callback(new ForbiddenAddress('the name resolves to a private address'), '');
      const [first] = addresses;
      if (options.all === true || first === undefined) return callback(null, addresses);
      callback(null, first.address, first.family);
    });
  };
}
