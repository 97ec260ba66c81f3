/** What a look means for its hint, as a table: who was hinted at, what was seen, what the mirror knows. */
import { describe, expect, test } from 'vitest';
import type { Known } from '../../shared/snapshot.ts';
import { observe } from './diff.ts';
import { judgeLook, LOOKS_MOST } from './look-verdict.ts';
import type { Look } from './proof.ts';

const EVENT = 1_000_000;
const LOOKED = EVENT + 2_000;

const observed = (updatedAt: number) =>
  observe(
    {
      Username: 'ada',
      Attributes: [{ Name: 'sub', Value: 's' }],
      UserLastModifiedDate: new Date(updatedAt),
      UserStatus: 'CONFIRMED',
    },
    't',
    LOOKED,
  );
const shown = (updatedAt: number): Look => ({ shown: true, observed: observed(updatedAt) });
const absent: Look = { shown: false, observedAt: LOOKED };

const known = (entry: Known['entry'], tombstoned = false) => ({ sub: 's', entry, tombstoned, stale: null });
const stranger = known(null);
const dead = known(null, true);
const other = known({ observedAt: EVENT, fingerprint: '0000000000000000' as never, username: 'ada' });
const later = known({ observedAt: LOOKED + 1, fingerprint: '0000000000000000' as never, username: 'ada' });
const same = (updatedAt: number) =>
  known({ observedAt: EVENT, fingerprint: observed(updatedAt).fingerprint, username: 'ada' });

const change = { expect: 'change', since: EVENT } as const;
const undated = { expect: 'change', since: null } as const;
const deleted = { expect: 'delete', since: null } as const;
const asked = { expect: 'nothing', since: null } as const;

type Case = readonly [
  what: string,
  hint: Parameters<typeof judgeLook>[0],
  look: Look,
  known: Parameters<typeof judgeLook>[3],
  next: string,
  sends: boolean,
];

const CASES: readonly Case[] = [
  ['a change, shown', change, shown(EVENT + 5), other, 'settled', true],
  ['a creation, shown', change, shown(EVENT + 5), stranger, 'settled', true],
  ['a change, an older one shown', change, shown(EVENT - 5), other, 'again', true],
  ['a change, known already', change, shown(EVENT + 5), same(EVENT + 5), 'settled', false],
  ['a change, the list lags', change, shown(EVENT - 5), same(EVENT - 5), 'again', false],
  ['a change without a date, shown', undated, shown(EVENT - 5), other, 'settled', true],
  ['a change without a date, the list lags', undated, shown(EVENT - 5), same(EVENT - 5), 'again', false],
  ['a change, somebody looked later', change, shown(EVENT - 5), later, 'settled', false],
  ['a change, a ghost', change, shown(EVENT + 5), dead, 'settled', false],
  ['a creation, not shown yet', change, absent, stranger, 'again', false],
  ['a change by a username that nobody has', change, absent, null, 'again', false],
  ['a change, not shown', change, absent, other, 'again', false],
  ['a change, deleted since', change, absent, dead, 'settled', false],
  ['a delete, gone', deleted, absent, other, 'suspect', false],
  ['a delete, gone from the mirror too', deleted, absent, dead, 'settled', false],
  ['a delete, never known', deleted, absent, stranger, 'settled', false],
  ['a delete, seen later by somebody', deleted, absent, later, 'settled', false],
  ['a delete, still shown', deleted, shown(EVENT - 5), same(EVENT - 5), 'again', false],
  ['a delete, still shown as a ghost', deleted, shown(EVENT - 5), dead, 'settled', false],
  ['asked, unchanged', asked, shown(EVENT - 5), same(EVENT - 5), 'settled', false],
  ['asked, changed', asked, shown(EVENT - 5), other, 'settled', true],
  ['asked, gone', asked, absent, other, 'suspect', false],
  ['asked, unknown', asked, absent, stranger, 'settled', false],
];

test.each(CASES)('%s', (_, hint, look, entry, next, sends) => {
  const verdict = judgeLook(hint, 1, look, entry);
  expect({ next: verdict.next, sends: verdict.change !== null }).toEqual({ next, sends });
  expect(verdict.missing !== null).toBe(next === 'suspect');
});

describe('after the last look', () => {
  test.each(CASES.filter(([, , , , next]) => next === 'again'))('%s: left to the scan, or suspected', (...one) => {
    const [, hint, look, entry, , sends] = one;
    const verdict = judgeLook(hint, LOOKS_MOST, look, entry);
    const missing = !look.shown && entry?.entry !== null && entry !== null;
    expect({ next: verdict.next, sends: verdict.change !== null }).toEqual({
      next: missing ? 'suspect' : 'settled',
      sends,
    });
  });
});

test('Invariant 4: one look never makes more than a suspect of anybody', () => {
  for (const [, hint, look, entry] of CASES)
    for (let looks = 1; looks <= LOOKS_MOST; looks++)
      expect(judgeLook(hint, looks, look, entry).change?.kind).not.toBe('delete');
});
