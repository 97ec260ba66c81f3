import { expect, it } from 'vitest';
import { Readiness } from './readiness.ts';

it('is ready when every condition holds, and else says why in one line each', () => {
  const readiness = new Readiness({ postgres: 'not connected yet', redis: 'not connected yet' });
  readiness.holds('redis');
  readiness.fails('postgres', 'nothing answers\n  there');
  readiness.fails('pool', 'IAM does not allow it');
  expect(readiness.reasons()).toEqual(['postgres: nothing answers there', 'pool: IAM does not allow it']);
  readiness.holds('postgres');
  readiness.holds('pool');
  expect(readiness.reasons()).toEqual([]);
});
