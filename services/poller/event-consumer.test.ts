/** The consumer against everything that a queue may hold: nothing stops it, and nothing of a body enters the log. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLog } from '../../shared/log.ts';
import type { EventQueue, QueueMessage } from '../../shared/sqs.ts';
import { consumeEvents } from './event-consumer.ts';
import type { HintQueue } from './hint-queue.ts';
import { Inbox } from './inbox.ts';

const POOL = 'eu-west-1_EXAMPLE';

function eventText(detail: object): string {
  return JSON.stringify({
    source: 'aws.cognito-idp',
    detail: { eventSource: 'cognito-idp.amazonaws.com', eventName: 'SignUp', ...detail },
  });
}

/** Gives these messages once, ten at a time, and then stops the consumer. */
class ScriptedQueue implements EventQueue {
  readonly removed: string[] = [];
  readonly #messages: QueueMessage[];
  readonly #end: () => void;
  constructor(bodies: readonly string[], end: () => void) {
    this.#messages = bodies.map((body, i) => ({ body, receipt: String(i) }));
    this.#end = end;
  }
  receive(): Promise<QueueMessage[]> {
    const some = this.#messages.splice(0, 10);
    if (some.length === 0) this.#end();
    return Promise.resolve(some);
  }
  remove(messages: readonly QueueMessage[]): Promise<void> {
    this.removed.push(...messages.map(({ receipt }) => receipt));
    return Promise.resolve();
  }
  close(): void {}
}

interface Told {
  readonly queued: string[];
  readonly known: string[];
  readonly counts: Record<string, number>;
  hurried: number;
}

function inboxOf(fails: (name: string) => boolean = () => false): { inbox: Inbox; told: Told } {
  const told: Told = { queued: [], known: [], counts: {}, hurried: 0 };
  const hints = {
    add: async (some: readonly { name: string }[]) => {
      for (const { name } of some) {
        if (fails(name)) throw new Error(`could not queue ${name}`);
        told.queued.push(name);
      }
    },
    hurry: async () => {
      told.hurried++;
    },
    isKnown: async (id: string) => told.known.includes(id),
    know: async (id: string) => {
      told.known.push(id);
    },
    count: async (_: string, counts: Record<string, number>) => {
      for (const [name, n] of Object.entries(counts)) told.counts[name] = (told.counts[name] ?? 0) + n;
    },
  } as unknown as HintQueue;
  const inbox = new Inbox();
  inbox.open(new Set([POOL]), () => [{ pool: POOL, hints }]);
  return { inbox, told };
}

async function consume(bodies: readonly string[], fails?: (name: string) => boolean) {
  const stop = new AbortController();
  const queue = new ScriptedQueue(bodies, () => stop.abort());
  const logged: string[] = [];
  const log = createLog({ logLevel: 'trace', logFormat: 'json', to: { write: (line) => void logged.push(line) } });
  const { inbox, told } = inboxOf(fails);
  await consumeEvents(queue, inbox, log, stop.signal);
  return { queue, told, logged: logged.join('') };
}

test('queues, skips, drops doubles and leaves what it can not read', async () => {
  const named = (sub: string, id: string, more: object = {}) =>
    eventText({ additionalEventData: { sub }, eventID: id, ...more });
  const { queue, told } = await consume([
    named('a', '1'),
    named('a', '1'),
    named('b', '2', { requestParameters: { userPoolId: POOL } }),
    named('c', '3', { requestParameters: { userPoolId: 'eu-west-1_OTHER' } }),
    named('d', '4', { errorCode: 'CodeMismatchException' }),
    eventText({ eventID: '5' }),
    'no event',
    '{"hello":"world"}',
  ]);
  expect(told.queued).toEqual(['a', 'b']);
  expect(told.known).toEqual(['1', '2', '5']);
  expect(told.hurried).toBe(1);
  expect(told.counts).toEqual({ received: 2, doubled: 1, ignored: 2, nameless: 1, unreadable: 2 });
  expect(queue.removed).toEqual(['0', '1', '2', '3', '4', '5']);
});

test('removes nothing whose hint was not queued', async () => {
  const bodies = ['a', 'b', 'bad', 'c'].map((sub) => eventText({ additionalEventData: { sub }, eventID: sub }));
  const { queue, told } = await consume(bodies, (name) => name === 'bad');
  expect(queue.removed).toEqual(['0', '1']);
  expect(told.known).toEqual(['a', 'b']);
});

test('no body, however broken, stops it or enters the log', async () => {
  const secret = 'ada.lovelace@example.com';
  const body = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.json(),
    fc
      .anything({ maxDepth: 3 })
      .map((detail) => JSON.stringify({ source: 'aws.cognito-idp', secret, detail }) ?? secret),
    fc
      .record({ requestParameters: fc.anything(), additionalEventData: fc.anything(), eventID: fc.anything() })
      .map((detail) => eventText({ ...detail, secret })),
    fc.nat(200).map((length) => eventText({ secret }).slice(0, length)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(body, { maxLength: 25 }), async (bodies) => {
      const { queue, told, logged } = await consume(bodies);
      const unreadable = told.counts['unreadable'] ?? 0;
      expect(queue.removed.length + unreadable).toBe(bodies.length);
      expect(logged).not.toContain(secret);
      for (const one of bodies.filter((text) => text.length > 12)) expect(logged).not.toContain(one);
    }),
    { numRuns: 300 },
  );
});
