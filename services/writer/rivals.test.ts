import { expect, test } from 'vitest';
import { Rivals } from './rivals.ts';

test('a mirror that is lost once or twice is taken back at once; then ever more slowly; after a quiet while at once again', () => {
  const rivals = new Rivals(() => 0.5);
  const waits: number[] = [];
  let now = 0;
  for (let turn = 0; turn < 12; turn++) {
    waits.push(rivals.patienceMs(now));
    rivals.begun('another timeline', now);
    now += 1_000;
  }
  expect(waits.map((ms) => ms / 1_000)).toEqual([0, 0, 0, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
  expect(rivals.patienceMs(now + 10 * 60_000)).toBe(0);
});

test('a Redis that lost everything, or an operator, is no rival', () => {
  const rivals = new Rivals(() => 0.5);
  for (let turn = 0; turn < 9; turn++) rivals.begun(turn % 2 === 0 ? 'no snapshot' : 'operator', turn);
  expect(rivals.patienceMs(9)).toBe(0);
});
