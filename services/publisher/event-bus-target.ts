/**
 * An EventBridge bus as a target. PutEvents answers 200 though entries failed, each for itself: those with an error of AWS's own are sent again, the
 * others are refused. A dispatcher gives no two changes of one user at a time, so an entry that must wait holds back the later ones of its user.
 */
import { CloudWatchEventsClient, PutEventsCommand, type PutEventsResultEntry } from '@aws-sdk/client-cloudwatch-events';
import type { LoggedChange } from '../../shared/change-log.ts';
import { classify } from '../../shared/errors.ts';
import { EVENTBRIDGE } from '../../shared/settings-webhook.ts';
import type { Outcome, Target } from './delivery.ts';
import {
  type EventEntry,
  type EventSettings,
  entryBytes,
  eventEntry,
  MOST_ENTRIES,
  MOST_ENTRY_BYTES,
  requests,
} from './event-entry.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 15_000;
const PARALLEL = [1, 4] as const;
/** Of an entry (PutEvents, API reference, "Errors" of an entry). */
const RETRYABLE: ReadonlySet<string> = new Set(['InternalFailure', 'InternalException', 'ThrottlingException']);
/** Of a request that no waiting mends: something in an entry. */
const INVALID: ReadonlySet<string> = new Set(['ValidationException', 'ValidationError', 'SerializationException']);

export interface EventBusOptions extends EventSettings {
  readonly region: string | null;
  readonly endpoint: string | null;
}

export function createEventBusTarget(options: EventBusOptions): Target {
  const { region, endpoint } = options;
  const client = new CloudWatchEventsClient({
    ...(region === null ? {} : { region }),
    ...(endpoint === null ? {} : { endpoint }),
    // The schedule of the publisher is the one that counts.
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      throwOnRequestTimeout: true,
    },
  });

  async function put(entries: readonly EventEntry[], signal: AbortSignal): Promise<Outcome[]> {
    try {
      const answer = await client.send(new PutEventsCommand({ Entries: [...entries] }), { abortSignal: signal });
      const results = answer.Entries ?? [];
      return entries.map((_, i) => outcomeOf(results[i]));
    } catch (error) {
      if (signal.aborted) return entries.map(() => ({ kind: 'interrupted' }));
      const { what, code } = classify(error);
      const reason = code === null ? what : `${what} (${code})`;
      if (!INVALID.has(nameOf(error))) return entries.map(() => ({ kind: 'failed', reason, retryAfterMs: null }));
      if (entries.length === 1) return [{ kind: 'refused', reason }];
      // One of them spoils the request: each for itself.
      return (await Promise.all(entries.map((entry) => put([entry], signal)))).flat();
    }
  }

  async function deliver(changes: readonly LoggedChange[], signal: AbortSignal): Promise<Outcome[]> {
    const entries = changes.map((change) => eventEntry(change, options));
    const outcomes: Outcome[] = entries.map((entry) => {
      const bytes = entryBytes(entry);
      return { kind: 'refused', reason: `${bytes} bytes: an event may have ${MOST_ENTRY_BYTES}` };
    });
    const fitting = entries
      .map((entry, place) => ({ entry, place }))
      .filter(({ entry }) => entryBytes(entry) <= MOST_ENTRY_BYTES);
    for (const request of requests(fitting.map(({ entry }) => entryBytes(entry)))) {
      const sent = request.flatMap((i) => fitting[i] ?? []);
      const results = await put(
        sent.map(({ entry }) => entry),
        signal,
      );
      sent.forEach(({ place }, i) => {
        outcomes[place] = results[i] ?? outcomeOf(undefined);
      });
    }
    return outcomes;
  }

  return {
    name: EVENTBRIDGE,
    most: MOST_ENTRIES,
    parallel: PARALLEL,
    wants: ({ op }) => op !== 'read',
    deliver,
    close: () => client.destroy(),
  };
}

/** The code alone: an entry's message may repeat what is in it. */
function outcomeOf(result: PutEventsResultEntry | undefined): Outcome {
  if (result === undefined) return { kind: 'failed', reason: 'no answer for this entry', retryAfterMs: null };
  const { ErrorCode: code } = result;
  if (code === undefined || code === '') return { kind: 'delivered' };
  const known = /^[\w.]{1,80}$/.test(code) ? code : 'an unknown code';
  return RETRYABLE.has(code)
    ? { kind: 'failed', reason: known, retryAfterMs: null }
    : { kind: 'refused', reason: `EventBridge refuses the event: ${known}` };
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : '');
