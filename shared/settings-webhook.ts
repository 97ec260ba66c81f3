/** The webhook endpoints of one pool, checked together. */

import { isPrivateHost } from './private-address.ts';
import type { Given, WebhookEntry } from './settings-source.ts';
import { flag, httpUrl, webhookSecret, webhookSecretBytes } from './settings-values.ts';

export type WebhookOp = 'insert' | 'update' | 'delete';

/** One endpoint, and which changes it gets; a null filter lets everything pass. */
export interface WebhookSettings {
  /** Its subscription's name: one of several has its own, the one of WEBHOOK_URL is `webhook`. */
  readonly name: string;
  readonly url: string;
  readonly secret: string;
  readonly secretPrevious: string | null;
  readonly allowInsecure: boolean;
  readonly ops: readonly WebhookOp[] | null;
  /** Of the mirror's columns: an update passes when it changed one of these, or one of `attributes`. */
  readonly columns: readonly string[] | null;
  readonly attributes: readonly string[] | null;
}

/** The name of the endpoint that WEBHOOK_URL gives. */
export const SINGLE_WEBHOOK = 'webhook';
/** The name that the publisher's EventBridge subscription has. */
export const EVENTBRIDGE = 'eventbridge';

const OPS: readonly WebhookOp[] = ['insert', 'update', 'delete'];
const COLUMNS = ['username', 'email', 'status', 'enabled', 'created_at', 'updated_at', 'attributes'];

/** What is wrong with an endpoint whose values are right each by itself. `at` names its settings. */
export function checkWebhook(
  webhook: Pick<WebhookSettings, 'url' | 'secret' | 'allowInsecure'>,
  at: { readonly url: string; readonly secret: string; readonly allowInsecure: string },
  problems: string[],
  warnings: string[],
): void {
  const url = new URL(webhook.url);
  if (!webhook.allowInsecure && url.protocol === 'http:')
    problems.push(`${at.url}: plain http; https, or ${at.allowInsecure} set to true`);
  if (!webhook.allowInsecure && isPrivateHost(url.hostname)) {
    problems.push(`${at.url}: a private address; a public one, or ${at.allowInsecure} set to true`);
  }
  const bytes = webhookSecretBytes(webhook.secret);
  if (bytes < 24 || bytes > 64)
    warnings.push(`${at.secret}: ${bytes} bytes; Standard Webhooks asks for 24 to 64 random ones`);
}

/** The endpoints of `webhooks:`. */
export function readWebhooks(
  entries: readonly WebhookEntry[],
  problems: string[],
  warnings: string[],
): WebhookSettings[] {
  const names = new Set<string>();
  return entries.flatMap((entry) => {
    const before = problems.length;
    const text = <T>(key: string, schema: Parser<T>) => readText(entry.texts.get(key), schema, problems);
    const name = text('name', { safeParse: (data) => ({ success: true, data }) });
    const url = text('url', httpUrl);
    const secret = text('secret', webhookSecret);
    const secretPrevious = text('secretPrevious', webhookSecret);
    const allowInsecure = text('allowInsecure', flag) ?? false;
    const ops = words(entry, 'ops', OPS, problems);
    const columns = words(entry, 'columns', COLUMNS, problems);
    const attributes = words(entry, 'attributes', null, problems);
    if (problems.length > before) return [];
    if (name === null || url === null || secret === null) {
      problems.push(`${entry.place}: needs a name, a url and a secret`);
      return [];
    }
    if (name === SINGLE_WEBHOOK || name === EVENTBRIDGE || names.has(name))
      problems.push(`${entry.place}: another target has this name`);
    names.add(name);
    const at = { url: `${entry.place} url`, secret: `${entry.place} secret`, allowInsecure: 'allowInsecure' };
    checkWebhook({ url, secret, allowInsecure }, at, problems, warnings);
    return [{ name, url, secret, secretPrevious, allowInsecure, ops, columns, attributes }];
  });
}

interface Parser<T> {
  safeParse(
    text: string,
  ): { success: true; data: T } | { success: false; error: { issues: readonly { message: string }[] } };
}

function readText<T>(given: Given | undefined, schema: Parser<T>, problems: string[]): T | null {
  if (given === undefined || given.text.trim() === '') return null;
  const result = schema.safeParse(given.text.trim());
  if (result.success) return result.data;
  problems.push(`${given.place} is ${result.error.issues[0]?.message}`);
  return null;
}

function words<T extends string>(
  entry: WebhookEntry,
  key: string,
  known: readonly T[] | null,
  problems: string[],
): T[] | null {
  const list = entry.lists.get(key);
  if (list === undefined) return null;
  const unknown = list.filter((word) => known !== null && !known.includes(word as T));
  if (unknown.length > 0) problems.push(`${entry.place} ${key}: ${unknown.join(', ')}: none of ${known?.join(', ')}`);
  if (list.length === 0)
    problems.push(`${entry.place} ${key}: an empty list lets nothing pass; leave it out to let everything pass`);
  return list as T[];
}
