import fc from 'fast-check';
import { expect, it } from 'vitest';
import { OrderedUsers } from './ordered-users.ts';
import type { PoolUser } from './pool-user.ts';

const userAt = (place: number): PoolUser => ({ place, sub: '', username: '', status: '', enabled: true, json: '' });

const beyond = (list: OrderedUsers, place: number, most = Number.POSITIVE_INFINITY): number[] => {
  const places: number[] = [];
  list.walk(place, (user) => places.push(user.place) < most);
  return places;
};

it('is a sorted list, however it came about', () => {
  const place = fc.nat(5000);
  fc.assert(
    fc.property(
      fc.uniqueArray(place, { maxLength: 2000 }),
      fc.uniqueArray(place, { maxLength: 3000, minLength: 1500 }),
      fc.array(place),
      place,
      (loaded, added, removed, from) => {
        const list = new OrderedUsers();
        const users = new Map(loaded.map((at) => [at, userAt(at)]));
        list.addAll([...users.values()]);
        for (const at of added) {
          if (users.has(at)) continue;
          const user = userAt(at);
          users.set(at, user);
          list.add(user);
        }
        for (const at of removed) {
          expect(list.remove(users.get(at) ?? userAt(at))).toBe(users.delete(at));
        }
        const expected = [...users.keys()].sort((a, b) => a - b);
        expect(beyond(list, -1)).toEqual(expected);
        expect([...list].map((user) => user.place)).toEqual(expected);
        expect(list.size).toBe(expected.length);
        expect(beyond(list, from, 60)).toEqual(expected.filter((at) => at > from).slice(0, 60));
        expect(list.near(from)?.place).toBe(expected.find((at) => at > from) ?? expected[0]);
      },
    ),
    { numRuns: 30, seed: 1 },
  );
});

it('is empty again after the last one is removed', () => {
  const list = new OrderedUsers();
  const user = userAt(5);
  list.add(user);
  expect(list.remove(userAt(5))).toBe(false);
  expect(list.remove(user)).toBe(true);
  expect(list.near(0)).toBeUndefined();
  list.add(user);
  expect(beyond(list, -1)).toEqual([5]);
});
