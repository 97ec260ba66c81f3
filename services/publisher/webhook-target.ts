/** An HTTP endpoint as a target: one request a change. */
import type { lookup } from 'node:dns';
import type { LoggedChange } from '../../shared/change-log.ts';
import { classify } from '../../shared/errors.ts';
import type { TableName } from '../../shared/settings-values.ts';
import type { WebhookSettings } from '../../shared/settings-webhook.ts';
import type { Outcome, Target } from './delivery.ts';
import { passes } from './filter.ts';
import { parseRetryAfter } from './retry-schedule.ts';
import { ForbiddenAddress, NoAnswer, WebhookConnection } from './webhook-connection.ts';
import { webhookBody, webhookId, webhookSignature } from './webhook-message.ts';

const TIMEOUT_MS = 15_000;
const PARALLEL = [4, 32] as const;

export interface WebhookTargetOptions {
  readonly webhook: WebhookSettings;
  /** The mirror, which the payload names. */
  readonly table: TableName;
  readonly timeoutMs?: number;
  readonly lookup?: typeof lookup;
}

/** What an answer means. Redirects are not followed: a body that was signed for one receiver is not handed to another. */
export function outcomeOf(status: number, retryAfter: string | undefined, nowMs: number): Outcome {
  if (status >= 200 && status < 300) return { kind: 'delivered' };
  // Standard Webhooks: the receiver is gone and wants no more. `webhooks redeliver` brings back what was put aside if it was a mistake.
  if (status === 410) return { kind: 'refused', reason: 'HTTP 410: the receiver is gone' };
  return { kind: 'failed', reason: `HTTP ${status}`, retryAfterMs: parseRetryAfter(retryAfter, nowMs) };
}

export function createWebhookTarget({ webhook, table, timeoutMs = TIMEOUT_MS, lookup }: WebhookTargetOptions): Target {
  const { name, url, allowInsecure, secret, secretPrevious } = webhook;
  const secrets = secretPrevious === null ? [secret] : [secret, secretPrevious];
  const connections = PARALLEL[1];
  const connection = new WebhookConnection({
    url,
    allowInsecure,
    connections,
    timeoutMs,
    ...(lookup === undefined ? {} : { lookup }),
  });

  async function deliverOne(change: LoggedChange, signal: AbortSignal): Promise<Outcome> {
    const id = webhookId(change);
    const body = webhookBody(change, table);
    const timestampS = Math.floor(Date.now() / 1_000);
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'cognito-feed',
      'webhook-id': id,
      'webhook-timestamp': String(timestampS),
      'webhook-signature': webhookSignature(secrets, id, timestampS, body),
    };
    try {
      const { status, retryAfter } = await connection.post(body, headers, signal);
      return outcomeOf(status, retryAfter, Date.now());
    } catch (error) {
      if (signal.aborted) return { kind: 'interrupted' };
      return { kind: 'failed', reason: reasonOf(error), retryAfterMs: null };
    }
  }

  return {
    name,
    most: 1,
    parallel: PARALLEL,
    wants: (change) => passes(change, webhook),
    deliver: (changes, signal) => Promise.all(changes.map((change) => deliverOne(change, signal))),
    close: () => connection.close(),
  };
}

/** Without the address: an endpoint's URL is a secret. */
function reasonOf(error: unknown): string {
  if (error instanceof NoAnswer || error instanceof ForbiddenAddress) return error.message;
  const { what, code } = classify(error);
  return code === null ? what : `${what} (${code})`;
}
