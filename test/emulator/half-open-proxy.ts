/**
 * A TCP proxy that can stop to be one: for servers that vanish without a word, as behind a firewall that drops packets.
 * The idea is pg-boss's test/halfOpenProxy.ts.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

interface Pair {
  readonly client: Socket;
  /** Connected only once the proxy passes. */
  server: Socket | undefined;
}

/**
 * - `pass`: bytes go through
 * - `black-hole`: nothing does, in either direction, and neither end learns of the other's end; new connections are accepted and
 *   lead nowhere. Passing again, what was held goes through, as after a network partition
 * - `refuse`: new connections are refused; the existing ones go on
 */
export type ProxyMode = 'pass' | 'black-hole' | 'refuse';

export class HalfOpenProxy {
  readonly #target: ProxyTarget;
  readonly #host: string;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #mode: ProxyMode = 'pass';
  #port = 0;

  private constructor(target: ProxyTarget, host: string) {
    this.#target = target;
    this.#host = host;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => this.#accept(client));
  }

  /** @param listen default 127.0.0.1 and a free port */
  static async start(target: ProxyTarget, listen: Partial<ProxyTarget> = {}): Promise<HalfOpenProxy> {
    const proxy = new HalfOpenProxy(target, listen.host ?? '127.0.0.1');
    proxy.#port = listen.port ?? 0;
    await proxy.#listen();
    return proxy;
  }

  get host(): string {
    return this.#host;
  }

  /** Stays the same for the proxy's life. */
  get port(): number {
    return this.#port;
  }

  get mode(): ProxyMode {
    return this.#mode;
  }

  /** How many clients are connected. */
  get connections(): number {
    return this.#pairs.size;
  }

  async pass(): Promise<void> {
    this.#mode = 'pass';
    for (const pair of this.#pairs) this.#forward(pair);
    await this.#listen();
  }

  async blackHole(): Promise<void> {
    this.#mode = 'black-hole';
    for (const { client, server } of this.#pairs) {
      client.pause();
      server?.pause();
    }
    await this.#listen();
  }

  /** Combine it with `cutAll` for a server that is down. */
  async refuse(): Promise<void> {
    this.#mode = 'refuse';
    for (const pair of this.#pairs) this.#forward(pair);
    // 'close' comes only when the last connection has ended; the port is free at once.
    if (this.#server.listening) this.#server.close();
  }

  /** Resets all connections, at both ends. The mode stays. */
  cutAll(): void {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server?.resetAndDestroy();
    }
    this.#pairs.clear();
  }

  async stop(): Promise<void> {
    this.cutAll();
    if (this.#server.listening) this.#server.close();
  }

  async #listen(): Promise<void> {
    if (this.#server.listening) return;
    this.#server.listen(this.#port, this.#host);
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  #accept(client: Socket): void {
    const pair: Pair = { client, server: undefined };
    this.#pairs.add(pair);
    client.on('close', () => {
      if (this.#mode !== 'black-hole') this.#end(pair); // else the server must not learn it yet
    });
    client.on('error', () => client.destroy());
    if (this.#mode !== 'black-hole') this.#forward(pair);
  }

  /** Connects where that has not been done, and lets bytes flow. */
  #forward(pair: Pair): void {
    const { client } = pair;
    if (pair.server === undefined && !client.destroyed) {
      const server = connect({ ...this.#target, allowHalfOpen: true });
      pair.server = server;
      server.on('error', () => server.destroy());
      // In a black hole the client must not learn it; it does when the proxy passes again and finds a dead server.
      server.on('close', () => {
        if (this.#mode !== 'black-hole') this.#end(pair);
      });
      this.#relay(client, server);
      this.#relay(server, client);
    }
    if (client.destroyed || pair.server === undefined || pair.server.destroyed) {
      this.#end(pair);
      return;
    }
    client.resume();
    pair.server.resume();
  }

  #end(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.server?.destroy();
  }

  #relay(from: Socket, to: Socket): void {
    from.on('data', (chunk) => {
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => {
      if (this.#mode !== 'black-hole') from.resume();
    });
    from.on('end', () => to.end());
  }
}
