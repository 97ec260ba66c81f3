/**
 * A change as a webhook: Supabase's payload (https://supabase.com/docs/guides/database/webhooks#payload) and the headers of Standard Webhooks
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md). Pure.
 */
import { createHmac, hash } from 'node:crypto';
import type { LoggedChange } from '../../shared/change-log.ts';
import type { TableName } from '../../shared/settings-values.ts';

const TYPES = { read: 'INSERT', insert: 'INSERT', update: 'UPDATE', delete: 'DELETE' } as const;

/** The same bytes at each try. */
export function webhookBody(change: LoggedChange, { schema, name }: TableName): string {
  const { op, lsn, seq, changed } = change;
  return JSON.stringify({
    type: TYPES[op],
    table: name,
    schema,
    record: change.new,
    old_record: change.old,
    lsn,
    seq,
    changed,
  });
}

/**
 * The same at each try, after restarts too, and no other change's: not another pool's, nor one with this LSN in another history.
 */
export function webhookId({
  pool,
  timeline,
  lsn,
  seq,
}: Pick<LoggedChange, 'pool' | 'timeline' | 'lsn' | 'seq'>): string {
  return `msg_${hash('sha256', pool, 'hex').slice(0, 12)}_${timeline}_${lsn}_${seq}`;
}

/** `v1,…` for each secret (`whsec_…`), with a space between them: a receiver that knows one of them accepts. */
export function webhookSignature(secrets: readonly string[], id: string, timestampS: number, body: string): string {
  return secrets
    .map((secret) => {
      const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
      return `v1,${createHmac('sha256', key).update(`${id}.${timestampS}.${body}`).digest('base64')}`;
    })
    .join(' ');
}
