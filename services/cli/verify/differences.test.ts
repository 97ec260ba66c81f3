import { expect, test } from 'vitest';
import type { Fingerprint } from '../../../shared/fingerprint.ts';
import { disagreements, drifts, kindOf } from './differences.ts';

const noted = (sub: string, fingerprint = 'a', username = sub) => ({
  sub,
  username,
  fingerprint: fingerprint as Fingerprint,
});
const entry = (sub: string, fingerprint = 'a', username = sub) => ({
  sub,
  entry: { observedAt: 0, fingerprint: fingerprint as Fingerprint, username },
});

/** Sub, kind, and whether the snapshot drifts. */
const told = (...args: Parameters<typeof disagreements>) =>
  disagreements(...args).map((one) => [one.sub, kindOf(one), drifts(one)]);

test('tells who is missing, a ghost or different, and whether the snapshot knows it', () => {
  expect(told([noted('same')], [noted('same')], [entry('same')])).toEqual([]);
  expect(told([noted('u')], [], [])).toEqual([['u', 'missing', false]]);
  expect(told([noted('u')], [], [entry('u')])).toEqual([['u', 'missing', true]]);
  expect(told([], [noted('u')], [entry('u')])).toEqual([['u', 'ghost', false]]);
  expect(told([], [noted('u')], [])).toEqual([['u', 'ghost', true]]);
  expect(told([noted('u', 'a')], [noted('u', 'b')], [entry('u', 'b')])).toEqual([['u', 'different', false]]);
  expect(told([noted('u', 'a')], [noted('u', 'b')], [entry('u', 'a')])).toEqual([['u', 'different', true]]);
  expect(told([noted('u')], [noted('u')], [])).toEqual([['u', null, true]]);
  expect(told([], [], [entry('u')])).toEqual([['u', null, true]]);
  expect(told([noted('u')], [noted('u')], [entry('u', 'a', 'other')])).toEqual([['u', null, true]]);
});

test('a copy that a hand made of a row is a ghost of its own', () => {
  expect(told([noted('u')], [noted('u'), noted('u', 'c', 'copy')], [entry('u')])).toEqual([['?copy', 'ghost', true]]);
});
