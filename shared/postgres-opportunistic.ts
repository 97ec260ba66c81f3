/**
 * libpq's `sslmode=prefer`, which node-postgres lacks: it asks for TLS and breaks off where the server has none.
 * Source: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL (the server answers SSLRequest with `S` or `N`)
 */
import pg from 'pg';

/** The parts of node-postgres' Connection (8.23, lib/connection.js) that its types leave out. */
interface ConnectionInside {
  connect(port: number, host: string): void;
  attachListeners(stream: pg.Connection['stream']): void;
}
type ConnectionClass = new (config: pg.ClientConfig) => pg.Connection & ConnectionInside;

class OpportunisticConnection extends (pg.Connection as unknown as ConnectionClass) {
  override connect(port: number, host: string): void {
    super.connect(port, host);
    const [negotiate] = this.stream.listeners('data');
    if (negotiate === undefined)
      throw new Error('node-postgres no longer waits for the answer to SSLRequest as it did');
    this.stream.removeListener('data', negotiate as (answer: Buffer) => void);
    this.stream.once('data', (answer: Buffer) => {
      if (answer.length !== 1 || answer.toString('latin1') !== 'N') {
        negotiate.call(this.stream, answer);
        return;
      }
      this.attachListeners(this.stream);
      // The client sends its startup message at this event, as it does where there was TLS.
      this.emit('sslconnect');
    });
  }
}

/** A client that goes on in plain text where the server has no TLS. */
export class OpportunisticClient extends pg.Client {
  constructor(config?: string | pg.ClientConfig) {
    if (typeof config !== 'object') throw new TypeError('made by a pool, with its configuration');
    super({ ...config, connection: new OpportunisticConnection(config) } as pg.ClientConfig);
  }
}
