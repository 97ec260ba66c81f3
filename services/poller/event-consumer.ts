/**
 * CloudTrail events from SQS. A message is removed only when its hint is queued, or when there is nothing in it to be queued; one that can't be
 * read is left to the queue's own dead-letter policy. Nothing of a body enters the log.
 */
import { backOffMs, sleep } from '../../shared/clock.ts';
import { oneLine } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { EventQueue, QueueMessage } from '../../shared/sqs.ts';
import { readEventText } from './cloudtrail-event.ts';
import type { HintBody } from './hint-body.ts';
import { type Inbox, NobodyServes } from './inbox.ts';

const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 30_000;
/** Between two lines about messages that can't be read. */
const UNREADABLE_EVERY_MS = 60_000;

const NOTHING: HintBody = { pool: null, eventId: null, hints: [], nameless: false };

/** Runs until the signal. Never throws. */
export async function consumeEvents(queue: EventQueue, inbox: Inbox, log: Logger, signal: AbortSignal): Promise<void> {
  const unreadable = { count: 0, loggedAt: Number.NEGATIVE_INFINITY };
  let trouble: string | null = null;
  for (let failures = 0; !signal.aborted; ) {
    try {
      const messages = await queue.receive(signal);
      const left = await takeAll(messages, queue, inbox);
      if (left > 0) {
        unreadable.count += left;
        if (performance.now() - unreadable.loggedAt > UNREADABLE_EVERY_MS) {
          log.warn({ messages: unreadable.count }, 'messages in the event queue are no events: they are left in it');
          unreadable.loggedAt = performance.now();
        }
      }
      if (trouble !== null) log.info('events from SQS are read again');
      trouble = null;
      failures = 0;
    } catch (error) {
      if (signal.aborted) break;
      const line = `could not take events from SQS: ${error instanceof NobodyServes ? error.message : oneLine(error)}`;
      if (line !== trouble) log.warn({ err: error }, line);
      trouble = line;
      await sleep(backOffMs(failures++, RETRY_FIRST_MS, RETRY_MOST_MS), signal);
    }
  }
}

/** @returns how many can't be read. @throws after removing those that have done their work */
async function takeAll(messages: readonly QueueMessage[], queue: EventQueue, inbox: Inbox): Promise<number> {
  const done: QueueMessage[] = [];
  try {
    for (const message of messages) if (await taken(message, inbox)) done.push(message);
  } finally {
    if (done.length > 0) await queue.remove(done);
  }
  return messages.length - done.length;
}

/**
 * @returns whether the message has done its work
 * @throws where its hint could not be queued: it comes again, and so do those received with it that were not reached
 */
async function taken({ body }: QueueMessage, inbox: Inbox): Promise<boolean> {
  const event = readEventText(body);
  switch (event.kind) {
    case 'hint':
      await inbox.take({ ...NOTHING, pool: event.pool, eventId: event.eventId, hints: [event.hint] }, 'sqs');
      return true;
    case 'nameless':
      await inbox.take({ ...NOTHING, pool: event.pool, eventId: event.eventId, nameless: true }, 'sqs');
      return true;
    case 'ignored':
      await inbox.take(NOTHING, 'sqs');
      return true;
    case 'unreadable':
      await inbox.unreadable('sqs');
      return false;
  }
}
