import { expect, test } from 'vitest';
import type { Fingerprint } from '../../../shared/fingerprint.ts';
import { GROUPS } from '../../../shared/snapshot.ts';
import { type Noted, Pile } from './pile.ts';

const all = (pile: Pile): Noted[] => Array.from({ length: GROUPS }, (_, group) => [...pile.group(group)]).flat();

test('gives back what was noted, whatever subs and usernames are made of, each user in his own group', () => {
  const pile = new Pile();
  const noted: Noted[] = [];
  for (let n = 0; n < 5_000; n++) {
    const uuid = `d488e438-b0d1-7011-bc2c-${n.toString(16).padStart(12, '0')}`;
    const sub = n % 7 === 0 ? `?näme ${n}` : n % 11 === 0 ? 'x'.repeat(n % 40) + n : uuid;
    const username = n % 3 === 0 ? sub : '🦊'.repeat(n % 128) + n;
    noted.push({ sub, username, fingerprint: n.toString(16).padStart(16, '0') as Fingerprint });
  }
  for (const one of noted) pile.add(one);
  expect(pile.size).toBe(noted.length);
  const bySub = (a: Noted, b: Noted) => (a.sub < b.sub ? -1 : 1);
  expect(all(pile).sort(bySub)).toEqual(noted.sort(bySub));
  expect([...pile.group(GROUPS)]).toEqual([]);
});
