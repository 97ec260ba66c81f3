/**
 * Users as most pools have them, in bulk.
 */
import type { NewUser } from './pool.ts';
import type { Attribute } from './pool-user.ts';
import { Random } from './random.ts';

const GIVEN = [
  'Ada',
  'Grace',
  'Edsger',
  'Barbara',
  'Donald',
  'Leslie',
  'Jürgen',
  'Søren',
  'Zoë',
  '明',
  'Иван',
  'فاطمة',
];
const FAMILY = [
  'Lovelace',
  'Hopper',
  'Dijkstra',
  'Liskov',
  'Knuth',
  'Lamport',
  "O'Neil",
  'Müller',
  'Ångström',
  '李',
  'Петров',
];

/** A prime: its multiples modulo `count` are all the numbers below, unless it divides it. */
const STRIDE = 7919;

/**
 * `count` users with a numbered username and e-mail: nine in ten CONFIRMED, some in every other lane, a few federated, disabled or
 * without an e-mail.
 * @param first the number of the first; numbers make usernames unique
 * @param now their dates lie in the three years before, in ms since the epoch
 */
export function* ordinaryUsers(count: number, first: number, seed: number | string, now: number): Generator<NewUser> {
  const random = new Random(`${seed}/ordinary/${first}`);
  // Not in the order of their numbers: no list is to look sorted by name.
  const stride = count % STRIDE === 0 ? 1 : STRIDE;
  for (let i = 0; i < count; i++) yield ordinaryUser(first + ((i * stride) % count), random, now);
}

/** One such user. */
export function ordinaryUser(number: number, random: Random, now: number): NewUser {
  const createdAt = now - random.int(3 * 365 * 86_400) * 1000 - random.int(1000) - 86_400_000;
  const modifiedAt = createdAt + random.int(86_400_000);
  const lot = random.int(1000);
  const attributes: Attribute[] = [];
  if (lot >= 30) {
    attributes.push(['email_verified', lot < 950 ? 'true' : 'false'], ['email', `user${number}@example.com`]);
  }
  attributes.push(['given_name', random.pick(GIVEN)], ['family_name', random.pick(FAMILY)]);
  if (lot >= 970) {
    const userId = `1${String(number).padStart(20, '0')}`;
    const identity = {
      userId,
      providerName: 'Google',
      providerType: 'Google',
      issuer: null,
      primary: 'true',
      dateCreated: String(createdAt),
    };
    attributes.push(['identities', JSON.stringify([identity])]);
    return { username: `Google_${userId}`, attributes, status: 'EXTERNAL_PROVIDER', createdAt, modifiedAt };
  }
  return {
    username: `user${number}`,
    attributes,
    status: statusOf(lot),
    enabled: lot % 100 !== 7,
    createdAt,
    modifiedAt,
  };
}

function statusOf(lot: number): string {
  if (lot < 40) return 'UNCONFIRMED';
  if (lot < 60) return 'FORCE_CHANGE_PASSWORD';
  if (lot < 70) return 'RESET_REQUIRED';
  return 'CONFIRMED';
}
