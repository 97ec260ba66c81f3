import { describe, expect, it } from 'vitest';
import { ordinaryUsers } from './ordinary-users.ts';
import { sdkSession } from './sdk-session.ts';

const SUB = 'd488e438-b0d1-7011-bc2c-604a199fcdd5';

async function peopled() {
  const session = await sdkSession();
  const { pool } = session;
  pool.create({
    username: 'ada',
    attributes: [
      ['sub', SUB],
      ['email', 'ada@example.com'],
      ['given_name', 'Ada'],
    ],
  });
  pool.create({
    username: 'a"b\\c',
    attributes: [
      ['email', 'q"\\@example.com'],
      ['name', 'Ünï "çødé" 😀'],
    ],
  });
  pool.create({ username: 'new', attributes: [['phone_number', '+4912345']], status: 'UNCONFIRMED' });
  pool.create({
    username: 'off',
    attributes: [
      ['email', 'adam@example.com'],
      ['family_name', "O'Neil"],
    ],
    enabled: false,
  });
  return session;
}

describe('Filter', () => {
  it.each([
    ['', ['a"b\\c', 'ada', 'new', 'off']],
    [`sub = "${SUB}"`, ['ada']],
    [`sub="${SUB}"`, ['ada']],
    [`  "sub"   =   "${SUB}"  `, ['ada']],
    [`"sub"^="d488e4"`, ['ada']],
    ['sub ^= "d5"', []],
    ['sub = "d488e438"', []],
    ['username = "ada"', ['ada']],
    ['username = "ad"', []],
    ['username ^= "a"', ['a"b\\c', 'ada']],
    ['username = "a\\"b\\\\c"', ['a"b\\c']],
    ['username ^= "a\\""', ['a"b\\c']],
    ['email = "ada@example.com"', ['ada']],
    ['email = "ada"', []],
    ['email ^= "ada"', ['ada', 'off']],
    ['email ^= "q\\"\\\\"', ['a"b\\c']],
    ['name = "Ünï \\"çødé\\" 😀"', ['a"b\\c']],
    ['name ^= "Ünï"', ['a"b\\c']],
    ['given_name = "Ada"', ['ada']],
    ['family_name = "O\'Neil"', ['off']],
    ['phone_number ^= "+49"', ['new']],
    ['preferred_username ^= ""', []],
    ['cognito:user_status = "UNCONFIRMED"', ['new']],
    ['"cognito:user_status" = "unconfirmed"', ['new']],
    ['cognito:user_status ^= "CONF"', ['a"b\\c', 'ada', 'off']],
    ['status = "Enabled"', ['a"b\\c', 'ada', 'new']],
    ['status = "Disabled"', ['off']],
  ])('%s', async (filter, found) => {
    const { usernames } = await peopled();
    expect(await usernames(filter)).toEqual(found);
  });

  it.each([
    ['an attribute that is not searchable', 'custom:x = "1"'],
    ['an unquoted value', 'sub = abc'],
    ['single quotes', "sub = 'abc'"],
    ['another operator', 'sub != "abc"'],
    ['two conditions', 'sub = "a" and email = "b"'],
    ['an unescaped quote', 'username = "a"b"'],
    ['an unescaped backslash', 'username = "a\\b"'],
    ['a half-quoted name', '"sub = "a"'],
    ['a status that is none', 'status = "enabled"'],
    ['more than 256 characters', `email = "${'x'.repeat(250)}"`],
  ])('refuses %s', async (_, filter) => {
    const { usernames } = await peopled();
    await expect(usernames(filter)).rejects.toMatchObject({ name: 'InvalidParameterException' });
  });

  it('splits a pool into sixteen even shards by the first digit of the sub', async () => {
    const { pool, usernames } = await sdkSession();
    pool.load(ordinaryUsers(1600, 1, 1, Date.now()));
    const shards = await Promise.all([...'0123456789abcdef'].map((digit) => usernames(`sub ^= "${digit}"`)));
    expect(new Set(shards.flat()).size).toBe(1600);
    expect(shards.flat()).toHaveLength(1600);
    for (const shard of shards) expect(shard.length).toBeGreaterThan(50);
  });

  it('follows a user from lane to lane', async () => {
    const { pool, usernames } = await peopled();
    pool.setStatus('new', 'CONFIRMED');
    pool.enable('off');
    expect(await usernames('cognito:user_status = "UNCONFIRMED"')).toEqual([]);
    expect(await usernames('cognito:user_status = "CONFIRMED"')).toContain('new');
    expect(await usernames('status = "Enabled"')).toContain('off');
    pool.delete('new');
    expect(await usernames('cognito:user_status = "CONFIRMED"')).not.toContain('new');
  });
});
