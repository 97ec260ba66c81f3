import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import type { LoggedChange } from '../../shared/change-log.ts';
import { parseLsn } from '../../shared/lsn.ts';
import { webhookBody, webhookId, webhookSignature } from './webhook-message.ts';

const TABLE = { schema: 'cognito', name: 'users' };
const change: LoggedChange = {
  pool: 'eu-west-1_Example',
  timeline: '7a0c0000-0000-4000-8000-000000000001',
  lsn: parseLsn(42),
  seq: 3,
  op: 'update',
  username: 'ann',
  sub: 's-1',
  changed: ['email'],
  old: { username: 'ann', email: null },
  new: { username: 'ann', email: 'ünï@example.com' },
  committedAt: new Date(0),
  bytes: 1,
};

describe('the body', () => {
  test("is Supabase's, with lsn, seq and changed", () => {
    expect(JSON.parse(webhookBody(change, TABLE))).toEqual({
      type: 'UPDATE',
      table: 'users',
      schema: 'cognito',
      record: change.new,
      old_record: change.old,
      lsn: 42,
      seq: 3,
      changed: ['email'],
    });
  });

  test.each([
    ['insert', 'INSERT'],
    ['delete', 'DELETE'],
  ] as const)('%s is %s', (op, type) => {
    expect(JSON.parse(webhookBody({ ...change, op }, TABLE))).toMatchObject({ type });
  });
});

describe('the id', () => {
  test('is of this change alone: another pool, timeline, LSN or place has another', () => {
    const id = webhookId(change);
    expect(id).toMatch(/^msg_[0-9a-f]{12}_7a0c0000-0000-4000-8000-000000000001_42_3$/);
    const others = [{ pool: 'x' }, { timeline: 'y' }, { lsn: parseLsn(43) }, { seq: 4 }];
    expect(new Set([id, ...others.map((other) => webhookId({ ...change, ...other }))]).size).toBe(5);
  });
});

describe('the signature', () => {
  const secrets = [1, 2, 3].map((n) => `whsec_${Buffer.alloc(32, n).toString('base64')}`);
  const [current = '', previous = '', stranger = ''] = secrets;
  const id = webhookId(change);
  const body = webhookBody(change, TABLE);
  const timestampS = Math.floor(Date.now() / 1_000);
  const headers = (...signers: string[]) => ({
    'webhook-id': id,
    'webhook-timestamp': String(timestampS),
    'webhook-signature': webhookSignature(signers, id, timestampS, body),
  });

  test('is what the standardwebhooks library verifies', () => {
    expect(new Webhook(current).verify(body, headers(current))).toEqual(JSON.parse(body));
    expect(() => new Webhook(stranger).verify(body, headers(current))).toThrow('No matching signature');
    expect(() => new Webhook(current).verify(`${body} `, headers(current))).toThrow('No matching signature');
  });

  test('while a secret is rotated, a receiver may know either', () => {
    const both = headers(current, previous);
    expect(both['webhook-signature']).toMatch(/^v1,\S+ v1,\S+$/);
    for (const secret of [current, previous]) expect(new Webhook(secret).verify(body, both)).toBeTruthy();
    expect(() => new Webhook(stranger).verify(body, both)).toThrow();
  });
});
