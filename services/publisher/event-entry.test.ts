import { describe, expect, test } from 'vitest';
import type { LoggedChange } from '../../shared/change-log.ts';
import { parseLsn } from '../../shared/lsn.ts';
import { entryBytes, eventEntry, requests, SHARED_BYTES } from './event-entry.ts';

const change: LoggedChange = {
  pool: 'eu-west-1_Example',
  timeline: 't',
  lsn: parseLsn(42),
  seq: 3,
  op: 'update',
  username: 'änn',
  sub: 's-1',
  changed: ['email'],
  old: { email: 'CANARY-old' },
  new: { email: 'CANARY-new' },
  committedAt: new Date('2026-01-02T03:04:05.678Z'),
  bytes: 1,
};
const SETTINGS = { busName: 'bus', source: 'cognito-feed', values: false };

describe('an event', () => {
  test('has what the contract says, and no values unless asked for', () => {
    const { Detail, ...rest } = eventEntry(change, SETTINGS);
    expect(rest).toEqual({
      EventBusName: 'bus',
      Source: 'cognito-feed',
      DetailType: 'Cognito User Updated',
      Time: change.committedAt,
    });
    const detail = {
      ...{ pool: change.pool, timeline: 't', lsn: 42, seq: 3, op: 'update', username: 'änn', sub: 's-1' },
      ...{ changed: ['email'], committedAt: '2026-01-02T03:04:05.678Z' },
    };
    expect(JSON.parse(Detail)).toEqual(detail);
    expect(Detail).not.toContain('CANARY');
    const withValues = JSON.parse(eventEntry(change, { ...SETTINGS, values: true }).Detail);
    expect(withValues).toEqual({ ...detail, old: change.old, new: change.new });
  });

  test.each([
    ['insert', 'Cognito User Inserted'],
    ['delete', 'Cognito User Deleted'],
  ] as const)('%s is %s', (op, type) => {
    expect(eventEntry({ ...change, op }, SETTINGS).DetailType).toBe(type);
  });

  test('is measured as AWS does: UTF-8, and 14 for the time', () => {
    expect(entryBytes({ Source: 'ä', DetailType: 'bc', Detail: '{"x":"🦊"}' })).toBe(14 + 2 + 2 + 12);
  });
});

describe('requests', () => {
  test('have ten entries at most, in order', () => {
    expect(requests(Array.from({ length: 23 }, () => 100)).map((request) => request.length)).toEqual([10, 10, 3]);
    expect(requests([]).length).toBe(0);
  });

  test('share a request only as far as the size goes; a large one travels alone', () => {
    const half = SHARED_BYTES / 2;
    expect(requests([half, half, 1, 900_000, 1, half])).toEqual([[0, 1], [2], [3], [4, 5]]);
  });
});
