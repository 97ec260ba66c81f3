import { expect, it } from 'vitest';
import { storable } from '../../shared/user.ts';
import { hostileUsers } from './hostile-users.ts';

const users = [...hostileUsers(2000, 1)];
const values = users.flatMap(({ attributes }) => (attributes ?? []).map(([, value]) => value));
const text = values.join('');

it('cover every Unicode plane, and what text formats stumble over', () => {
  const planes = new Set(Array.from(text, (character) => (character.codePointAt(0) ?? 0) >> 16));
  expect([...planes].sort((a, b) => a - b)).toEqual(Array.from({ length: 17 }, (_, plane) => plane));
  for (const piece of ['"', "'", '\t', '\n', '\r', '\\', '\\.', '\\N', '\u0000']) expect(text).toContain(piece);
  expect(values).toContain('');
  expect(values).toContain('\\N');
  expect(values).toContain('\\.');
  expect(values).toContain(null);
  expect(values.some((value) => value !== null && !value.isWellFormed())).toBe(true);
});

it('stay within Cognito’s sizes, and reach them', () => {
  const bytes = values.map((value) => Buffer.byteLength(value ?? ''));
  expect(Math.max(...bytes)).toBe(2048);
  // 60 with sub; a rare one has its identities and an attribute without a Value besides.
  expect(users.filter(({ attributes }) => attributes?.length === 59).length).toBeGreaterThan(50);
  for (const { username = '' } of users) {
    expect(username.length).toBeGreaterThan(0);
    expect(username.length).toBeLessThanOrEqual(128);
  }
});

it('have usernames that stay unique in Postgres', () => {
  expect(new Set(users.map(({ username = '' }) => storable(username))).size).toBe(users.length);
  expect(users.every(({ username = '' }) => storable(username) === username)).toBe(true);
  expect(users.some(({ username = '' }) => username.includes("'; drop table"))).toBe(true);
  const altered = [...hostileUsers(200, 1, { unstorableUsernames: true })].filter(
    ({ username = '' }) => storable(username) !== username,
  );
  expect(altered.length).toBeGreaterThan(3);
});

it('some lack an e-mail, some have every status, some are disabled; identities are JSON', () => {
  expect(users.some(({ attributes }) => !attributes?.some(([name]) => name === 'email'))).toBe(true);
  expect(new Set(users.map(({ status }) => status)).size).toBe(8);
  expect(users.some(({ enabled }) => enabled === false)).toBe(true);
  const identities = users.flatMap(({ attributes }) => (attributes ?? []).filter(([name]) => name === 'identities'));
  expect(identities.length).toBeGreaterThan(100);
  for (const [, value] of identities) expect(JSON.parse(value ?? '')).toHaveLength(1);
});

it('are the same for the same seed', () => {
  expect([...hostileUsers(100, 3)]).toEqual([...hostileUsers(100, 3)]);
  expect([...hostileUsers(100, 3)]).not.toEqual([...hostileUsers(100, 4)]);
});
