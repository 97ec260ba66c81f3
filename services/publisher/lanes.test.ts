import { describe, expect, test } from 'vitest';
import { Lanes } from './lanes.ts';

const item = (name: string, ...lanes: string[]) => ({ name, lanes });

describe('lanes', () => {
  test('one goes at once, the next of its lane when it has left', () => {
    const lanes = new Lanes<ReturnType<typeof item>>();
    const [a, b, other] = [item('a', 'x'), item('b', 'x'), item('other', 'y')];
    expect([a, b, other].map((it) => lanes.add(it))).toEqual([true, false, true]);
    expect(lanes.ahead(b)).toEqual([a]);
    expect(lanes.remove(a)).toEqual([b]);
    expect(lanes.remove(b)).toEqual([]);
    expect(lanes.remove(other)).toEqual([]);
  });

  test('a username used again: the insert of its new sub waits for the delete of the old one', () => {
    const lanes = new Lanes<ReturnType<typeof item>>();
    const old = item('delete', 'sub-1', 'ann');
    const next = item('insert', 'sub-2', 'ann');
    const update = item('update', 'sub-2', 'ann');
    const elsewhere = item('another name of sub 1', 'sub-1', 'bob');
    expect([old, next, update, elsewhere].map((it) => lanes.add(it))).toEqual([true, false, false, false]);
    expect(lanes.remove(old)).toEqual([elsewhere, next]);
    expect(lanes.remove(next)).toEqual([update]);
  });

  test('one that was not first can not leave', () => {
    const lanes = new Lanes<ReturnType<typeof item>>();
    lanes.add(item('a', 'x'));
    const second = item('b', 'x');
    lanes.add(second);
    expect(() => lanes.remove(second)).toThrow('only the first');
  });

  test('a name that is both lanes of one counts once', () => {
    const lanes = new Lanes<ReturnType<typeof item>>();
    const twice = item('a', 'x', 'x');
    expect(lanes.add(twice)).toBe(true);
    expect(lanes.remove(twice)).toEqual([]);
  });
});
