/** The door to SQS: one queue, received from by long polling. No retries here but the SDK's own. */
import {
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SetQueueAttributesCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { queueAddress } from './sqs-address.ts';

export interface QueueMessage {
  readonly body: string;
  /** What `remove` takes. */
  readonly receipt: string;
}

export interface EventQueue {
  /** Up to ten, after up to 20 s; empty where none came. Whoever doesn't remove them within the visibility time-out gets them again. */
  receive(signal: AbortSignal): Promise<readonly QueueMessage[]>;
  remove(messages: readonly QueueMessage[]): Promise<void>;
  close(): void;
}

/** The most that ReceiveMessage and DeleteMessageBatch take, and the longest wait (API reference, ReceiveMessage). */
const BATCH = 10;
const WAIT_SECONDS = 20;
/** Ten hints are queued within milliseconds; a poller that died in between keeps them no longer than this from another. */
const VISIBILITY_SECONDS = 60;
const CONNECT_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = (WAIT_SECONDS + 10) * 1_000;

export interface SqsSettings {
  readonly url: string;
  /** Counts where the URL names none. */
  readonly region: string | null;
  readonly endpoint: string | null;
}

function connect({ url, region: otherwise, endpoint }: SqsSettings): SQSClient {
  const region = queueAddress(url).region ?? otherwise;
  return new SQSClient({
    ...(region === null ? {} : { region }),
    ...(endpoint === null ? {} : { endpoint }),
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      throwOnRequestTimeout: true,
    },
  });
}

export function connectEventQueue(settings: SqsSettings): EventQueue {
  const { url } = settings;
  const client = connect(settings);
  return {
    async receive(signal) {
      const { Messages = [] } = await client.send(
        new ReceiveMessageCommand({
          QueueUrl: url,
          MaxNumberOfMessages: BATCH,
          WaitTimeSeconds: WAIT_SECONDS,
          VisibilityTimeout: VISIBILITY_SECONDS,
        }),
        { abortSignal: signal },
      );
      return Messages.flatMap(({ Body, ReceiptHandle }) =>
        ReceiptHandle === undefined ? [] : [{ body: Body ?? '', receipt: ReceiptHandle }],
      );
    },
    async remove(messages) {
      for (let at = 0; at < messages.length; at += BATCH) {
        const Entries = messages
          .slice(at, at + BATCH)
          .map(({ receipt }, i) => ({ Id: String(i), ReceiptHandle: receipt }));
        // One that could not be removed comes again, and is known by its event's id then.
        await client.send(new DeleteMessageBatchCommand({ QueueUrl: url, Entries }));
      }
    },
    close: () => client.destroy(),
  };
}

export interface QueuePolicyDoor {
  /** `arn` and the policy, '' where there is none. */
  read(): Promise<{ readonly arn: string; readonly policy: string }>;
  /** '' removes it. */
  write(policy: string): Promise<void>;
  close(): void;
}

export function connectQueuePolicy(settings: SqsSettings): QueuePolicyDoor {
  const { url } = settings;
  const client = connect(settings);
  return {
    async read() {
      const { Attributes = {} } = await client.send(
        new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['QueueArn', 'Policy'] }),
      );
      return { arn: Attributes['QueueArn'] ?? '', policy: Attributes['Policy'] ?? '' };
    },
    async write(policy) {
      await client.send(new SetQueueAttributesCommand({ QueueUrl: url, Attributes: { Policy: policy } }));
    },
    close: () => client.destroy(),
  };
}
