/** Whether the judge of chaos runs sees what it is there for: each of these histories is wrong in one way. */
import { describe, expect, test } from 'vitest';
import type { AuditLine, LoggedChange } from './audit.ts';
import { type HistoryLine, historyOf } from './history.ts';
import { inOrder, keptAliveHonestly, logAgrees, mirrorEqualsPool, onceEach } from './judge.ts';
import { type State, stateOfRecord, stateOfRow } from './state.ts';

const state = (sub: string, version: number, username = 'ada'): State => ({
  sub,
  username,
  text: `${sub} v${version}`,
});
const [v0, v1, v2, other] = [state('a', 0), state('a', 1), state('a', 2), state('b', 0)];

let id = 0;
function row(at: number, old: State | null, now: State | null): AuditLine {
  const op = old === null ? 'INSERT' : now === null ? 'DELETE' : 'UPDATE';
  return { id: ++id, at, op, old, new: now };
}
const keepalive = (at: number, asOf: number): AuditLine => ({ id: ++id, at, op: 'KEEPALIVE', asOf });
const was = (at: number, { sub, username, text }: State): HistoryLine => ({ at, sub, username, state: text });
const gone = (at: number, { sub, username }: State): HistoryLine => ({ at, sub, username, state: null });
const checks = (findings: readonly { check: string }[]) => findings.map(({ check }) => check);

/** At 1,000 v0, at 2,000 v1, at 3,000 v2; at 4,000 gone, and the username another's. */
const pool = historyOf([
  { at: 0, truthful: true },
  was(1_000, v0),
  was(2_000, v1),
  was(3_000, v2),
  gone(4_000, v2),
  was(4_000, other),
]);
const good = [
  row(1_500, null, v0),
  row(2_500, v0, v1),
  row(3_500, v1, v2),
  row(4_500, v2, null),
  row(4_500, null, other),
  keepalive(4_600, 4_200),
];

test('a good history has no findings', () => {
  expect([...onceEach(good), ...inOrder(good, pool), ...keptAliveHonestly(good, pool)]).toEqual([]);
});

test('a history that skips states is a good one', () => {
  const audit = [row(3_500, null, v2), row(4_500, v2, null)];
  expect([...onceEach(audit), ...inOrder(audit, pool)]).toEqual([]);
});

describe('once', () => {
  test('a change made twice', () => {
    expect(checks(onceEach([row(1, null, v0), row(2, v0, v1), row(3, v0, v1)]))).toEqual(['no change twice']);
  });
  test('a change that changes nothing', () => {
    expect(checks(onceEach([row(1, null, v0), row(2, v0, v0)]))).toEqual(['no change twice']);
  });
  test('a row that came from nowhere', () => {
    expect(checks(onceEach([row(2, v0, v1)]))).toEqual(['no change twice']);
  });
});

describe('order', () => {
  test('an older state over a newer one', () => {
    expect(checks(inOrder([row(3_500, null, v2), row(3_600, v2, v1)], pool))).toEqual(['none out of order']);
  });
  test('a user back from the dead', () => {
    const audit = [row(3_500, null, v2), row(4_500, v2, null), row(4_600, null, v2)];
    expect(checks(inOrder(audit, pool))).toEqual(['none out of order']);
  });
  test('a state before the pool had it', () => {
    expect(checks(inOrder([row(1_500, null, v1)], pool))).toEqual(['none out of order']);
  });
  test('a state that the pool never had', () => {
    expect(checks(inOrder([row(1_500, null, state('a', 9))], pool))).toEqual(['none that the pool did not have']);
  });
  test('a user deleted who was there', () => {
    expect(checks(inOrder([row(1_500, null, v0), row(2_500, v0, null)], pool))).toEqual(['no false delete']);
  });
  test('a user replaced who was there', () => {
    const audit = [row(3_500, null, v2), row(3_600, v2, null)];
    expect(checks(inOrder(audit, pool))).toEqual(['no false delete']);
  });
  test('equal states at different times are told apart by their place', () => {
    const switched = historyOf([was(1, v0), was(2, v1), was(3, v0)]);
    expect(inOrder([row(11, null, v0), row(12, v0, v1), row(13, v1, v0)], switched)).toEqual([]);
    expect(checks(inOrder([row(11, null, v1), row(12, v1, v0), row(13, v0, v1)], switched))).toEqual([
      'none out of order',
    ]);
  });
});

describe('as_of', () => {
  test('a state that was not applied', () => {
    expect(checks(keptAliveHonestly([row(1_500, null, v0), keepalive(2_700, 2_500)], pool))).toEqual([
      'as_of tells the truth',
    ]);
  });
  test('a user who was not deleted', () => {
    const audit = [row(3_500, null, v2), keepalive(4_500, 4_300)];
    expect(checks(keptAliveHonestly(audit, pool))).toEqual(['as_of tells the truth', 'as_of tells the truth']);
  });
  test('nothing is said of a scan whose lists lied', () => {
    const lying = historyOf([{ at: 0, truthful: true }, was(1_000, v0), { at: 1_500, truthful: false }]);
    expect(keptAliveHonestly([keepalive(2_700, 1_200)], lying)).toEqual([]);
  });
});

describe('the change log', () => {
  const logged = (lsn: number, op: LoggedChange['op'], old: State | null, now: State | null): LoggedChange => {
    const { username, sub } = (now ?? old) as State;
    return { lsn, seq: 0, op, username, sub, old, new: now };
  };
  const log = [logged(1, 'read', null, v0), logged(2, 'update', v0, v1), logged(3, 'delete', v1, null)];
  const seen = [row(1, null, v0), row(2, v0, v1), row(3, v1, null)];
  const check = 'the change log agrees with the audit';

  test('one that agrees', () => expect(logAgrees(log, seen)).toEqual([]));
  test('one that lacks a change', () => expect(checks(logAgrees(log.slice(0, 2), seen))).toEqual([check]));
  test('one with a change that was not made', () => expect(checks(logAgrees(log, seen.slice(0, 2)))).toEqual([check]));
});

test('the mirror: who is missing, different, a ghost', () => {
  const [bea, cy] = [state('c', 0, 'bea'), state('d', 0, 'cy')];
  const findings = mirrorEqualsPool([v1, cy], [v0, bea]);
  expect(findings.map(({ evidence }) => evidence.split(':')[0])).toEqual(['different', 'missing', 'ghost']);
});

test('a record and its row are one state, in whatever order their attributes come', () => {
  const record = JSON.stringify({
    Username: 'ada',
    Attributes: [{ Name: 'sub', Value: 's' }, { Name: 'email', Value: 'a@b' }, { Name: 'custom:x' }],
    UserCreateDate: 1_700_000_000.12,
    UserLastModifiedDate: 1_700_000_001,
    Enabled: true,
    UserStatus: 'CONFIRMED',
  });
  const mirrored = {
    username: 'ada',
    email: 'a@b',
    status: 'CONFIRMED',
    enabled: true,
    created_at: '2023-11-14T22:13:20.12',
    updated_at: '2023-11-14T22:13:21',
    attributes: [{ email: 'a@b' }, { 'custom:x': null }, { sub: 's' }],
  };
  expect(stateOfRow(mirrored)).toEqual(stateOfRecord(record));
});
