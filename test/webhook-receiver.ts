/** A receiver of webhooks that does what a test tells it, and remembers what it was sent. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { expect, onTestFinished } from 'vitest';

export interface Received {
  readonly id: string;
  readonly headers: IncomingHttpHeaders;
  /** As it was signed. */
  readonly body: string;
  readonly message: WebhookMessage;
  /** performance.now() */
  readonly at: number;
  answer: Answer;
}

export interface WebhookMessage {
  readonly type: string;
  readonly table: string;
  readonly schema: string;
  readonly record: Record<string, unknown> | null;
  readonly old_record: Record<string, unknown> | null;
  readonly lsn: number;
  readonly seq: number;
  readonly changed: readonly string[];
}

/** A status, with headers or without; no answer at all; a connection cut. */
export type Answer =
  | number
  | { readonly status: number; readonly headers: Record<string, string> }
  | 'silence'
  | 'reset';
/** May take its time. */
export type Behaviour = (received: Received, place: number) => Answer | Promise<Answer>;

export const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

export class WebhookReceiver {
  readonly received: Received[] = [];
  /** Requests under way at once, at most. */
  busiest = 0;
  behave: Behaviour;
  readonly #server: Server;
  readonly #secret: string;
  #busy = 0;

  private constructor(behave: Behaviour, secret: string) {
    this.behave = behave;
    this.#secret = secret;
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', async () => {
        const body = Buffer.concat(chunks).toString();
        // Throws where the signature is wrong: nothing is received then, and the test waits in vain.
        const message = new Webhook(this.#secret).verify(
          body,
          request.headers as Record<string, string>,
        ) as WebhookMessage;
        const id = String(request.headers['webhook-id']);
        const received: Received = {
          id,
          headers: request.headers,
          body,
          message,
          at: performance.now(),
          answer: 'silence',
        };
        this.received.push(received);
        this.busiest = Math.max(this.busiest, ++this.#busy);
        const answer = await this.behave(received, this.received.length - 1);
        this.#busy--;
        received.answer = answer;
        if (answer === 'reset') request.socket.destroy();
        else if (typeof answer === 'number') response.writeHead(answer).end('ok');
        else if (answer !== 'silence') response.writeHead(answer.status, answer.headers).end('ok');
      });
    });
  }

  /** It is gone when the test has finished. */
  static async start(behave: Behaviour = () => 200, secret = SECRET): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver(behave, secret);
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    onTestFinished(() => {
      receiver.#server.close();
      receiver.#server.closeAllConnections();
    });
    return receiver;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/hook`;
  }

  /** Those that were answered by 2xx. */
  get accepted(): Received[] {
    return this.received.filter(({ answer }) => typeof answer === 'number' && answer >= 200 && answer < 300);
  }

  /** `lsn:seq`, in the order of their first arrival. */
  firstArrivals(of: readonly Received[] = this.received): string[] {
    return [...new Set(of.map(({ message }) => `${message.lsn}:${message.seq}`))];
  }
}

/** Each user's first arrivals, and first acceptances, in the order of the log. */
export function expectOrder(receiver: WebhookReceiver): void {
  const place = (position: string) => {
    const [lsn = 0, seq = 0] = position.split(':').map(Number);
    return lsn * 1e6 + seq;
  };
  const userOf = ({ message }: Received) => (message.record ?? message.old_record)?.['username'];
  for (const of of [receiver.received, receiver.accepted]) {
    for (const user of new Set(of.map(userOf))) {
      const arrivals = receiver.firstArrivals(of.filter((received) => userOf(received) === user));
      expect(arrivals).toEqual(arrivals.toSorted((a, b) => place(a) - place(b)));
    }
  }
}
