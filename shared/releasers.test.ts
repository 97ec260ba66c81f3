import { describe, expect, it } from 'vitest';
import { ReleaseError, withReleasers } from './releasers.ts';

describe('withReleasers', () => {
  it('releases last-in first-out, one after the other', async () => {
    const order: string[] = [];
    const result = await withReleasers(async ({ add }) => {
      add('a', () => order.push('a'));
      add('b', async () => {
        await new Promise((resolve) => setImmediate(resolve));
        order.push('b');
      });
      return 42;
    });
    expect([result, order]).toEqual([42, ['b', 'a']]);
  });

  it('releases past failures, and names them', async () => {
    const order: string[] = [];
    const failures: string[] = [];
    const work = withReleasers(
      async ({ add }) => {
        add('a', () => order.push('a'));
        add('b', () => Promise.reject(new Error('no')));
        add('c', () => {
          throw new Error('neither');
        });
      },
      (name) => failures.push(name),
    );
    await expect(work).rejects.toThrow(ReleaseError);
    await expect(work).rejects.toMatchObject({ failed: ['c', 'b'] });
    expect([order, failures]).toEqual([['a'], ['c', 'b']]);
  });

  it('throws why the work failed, whatever the releases do', async () => {
    const order: string[] = [];
    const work = withReleasers(async ({ add }) => {
      add('a', () => order.push('a'));
      add('b', () => Promise.reject(new Error('no')));
      throw new Error('the work');
    });
    await expect(work).rejects.toThrow('the work');
    expect(order).toEqual(['a']);
  });
});
