import { ListUsersCommand } from '@aws-sdk/client-cognito-identity-provider';
import { describe, expect, it } from 'vitest';
import type { CognitoUser } from '../../shared/user.ts';
import { hostileUsers } from './hostile-users.ts';
import { sdkSession } from './sdk-session.ts';

const byUsername = (a: CognitoUser, b: CognitoUser): number => ((a.Username ?? '') < (b.Username ?? '') ? -1 : 1);

describe('ListUsers', () => {
  it('shows each user of a pool exactly once, as it truly is', async () => {
    const { pool, pages } = await sdkSession();
    pool.fill(250);
    pool.load(hostileUsers(500, 1));
    const shown = await pages();
    expect(shown.map(({ length }) => length)).toEqual([...Array.from({ length: 12 }, () => 60), 30]);
    expect(shown.flat().sort(byUsername)).toEqual([...pool.users()].sort(byUsername));
  });

  it('ends an empty pool, and a pool of exactly one page, without a token', async () => {
    const { pool, pages } = await sdkSession();
    expect(await pages()).toEqual([[]]);
    pool.fill(60);
    expect(await pages()).toHaveLength(1);
  });

  it('gives fewer than the maximum by default', async () => {
    const { pool, client } = await sdkSession();
    pool.fill(61);
    expect((await client.send(new ListUsersCommand({ UserPoolId: pool.id }))).Users).toHaveLength(20);
    expect((await client.send(new ListUsersCommand({ UserPoolId: pool.id, Limit: 0 }))).Users).toHaveLength(20);
  });

  it('refuses limits outside 0 to 60', async () => {
    const { pool, client } = await sdkSession();
    for (const Limit of [61, -1]) {
      await expect(client.send(new ListUsersCommand({ UserPoolId: pool.id, Limit }))).rejects.toMatchObject({
        name: 'InvalidParameterException',
        $metadata: { httpStatusCode: 400 },
      });
    }
  });

  it('refuses an unknown pool', async () => {
    const { client } = await sdkSession();
    await expect(client.send(new ListUsersCommand({ UserPoolId: 'eu-west-1_other' }))).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    });
  });

  it('keeps several pools apart', async () => {
    const { emulator, pages } = await sdkSession({ pools: [{ id: 'eu-west-1_a' }, { id: 'us-east-1_b' }] });
    emulator.pool('eu-west-1_a').create({ username: 'a' });
    emulator.pool('us-east-1_b').create({ username: 'b' });
    expect((await pages()).flat().map(({ Username }) => Username)).toEqual(['a']);
    expect((await pages({ UserPoolId: 'us-east-1_b' })).flat().map(({ Username }) => Username)).toEqual(['b']);
  });

  it('takes a token only with the very same parameters', async () => {
    const { emulator, pool, client } = await sdkSession({ pools: [{}, { id: 'eu-west-1_other' }] });
    pool.fill(200);
    emulator.pool('eu-west-1_other').fill(200);
    const request = { UserPoolId: pool.id, Limit: 10 };
    const { PaginationToken } = await client.send(new ListUsersCommand(request));
    const others = [
      { ...request, PaginationToken, Limit: 11 },
      { ...request, PaginationToken, UserPoolId: 'eu-west-1_other' },
      { ...request, PaginationToken, Filter: 'sub ^= "a"' },
      { ...request, PaginationToken: `${PaginationToken}A` },
      { ...request, PaginationToken: 'nonsense' },
    ];
    for (const other of others) {
      await expect(client.send(new ListUsersCommand(other))).rejects.toMatchObject({
        name: 'InvalidParameterException',
      });
    }
    const second = await client.send(new ListUsersCommand({ ...request, PaginationToken }));
    expect(second.Users).toHaveLength(10);
  });

  it('shows nobody twice in one chain while the pool changes under it', async () => {
    const { pool, client } = await sdkSession();
    pool.fill(300);
    const stayed = new Set([...pool.users()].slice(100, 200).map(({ Username }) => Username));
    const seen: (string | undefined)[] = [];
    let token: string | undefined;
    do {
      const page = await client.send(new ListUsersCommand({ UserPoolId: pool.id, Limit: 20, PaginationToken: token }));
      seen.push(...(page.Users ?? []).map(({ Username }) => Username));
      token = page.PaginationToken;
      const gone = [...pool.users()].find(({ Username }) => !stayed.has(Username));
      if (gone?.Username !== undefined) pool.delete(gone.Username);
      pool.create();
    } while (token !== undefined);
    expect(new Set(seen).size).toBe(seen.length);
    for (const username of stayed) expect(seen).toContain(username);
  });

  it('answers AttributesToGet, and fails where a user lacks one', async () => {
    const { pool, client } = await sdkSession();
    pool.create({
      username: 'a',
      attributes: [
        ['email', 'a@example.com'],
        ['name', 'A'],
      ],
    });
    const request = { UserPoolId: pool.id, AttributesToGet: ['email'] };
    const { Users } = await client.send(new ListUsersCommand(request));
    expect(Users?.[0]?.Attributes).toEqual([{ Name: 'email', Value: 'a@example.com' }]);
    pool.create({ username: 'b' });
    await expect(client.send(new ListUsersCommand(request))).rejects.toMatchObject({
      name: 'InvalidParameterException',
    });
  });

  it('gives the same pool and the same order for the same seed', async () => {
    const one = await sdkSession({ seed: 5, now: () => 1_700_000_000_000 });
    const other = await sdkSession({ seed: 5, now: () => 1_700_000_000_000 });
    const third = await sdkSession({ seed: 6, now: () => 1_700_000_000_000 });
    for (const { pool } of [one, other, third]) pool.fill(100);
    expect(await one.pages()).toEqual(await other.pages());
    expect(await one.pages()).not.toEqual(await third.pages());
  });
});

describe('subs', () => {
  it('look like UUIDs, but are none by the RFC, in newer pools', async () => {
    const { pool } = await sdkSession();
    for (let i = 0; i < 50; i++) pool.create();
    const subs = [...pool.users()].map(({ Attributes }) => Attributes?.[0]?.Value ?? '');
    for (const sub of subs) expect(sub).toMatch(/^[0-9a-f]{8}-[0-9a-f]{3}1-70[0-9a-f]{2}-[0-9a-f]{4}-[0-9a-f]{12}$/);
    expect(new Set(subs.map((sub) => [1, 3, 5, 7].map((at) => sub[at]).join(''))).size).toBe(1);
    expect(new Set(subs.map((sub) => sub[0])).size).toBeGreaterThan(8);
    expect(subs.some((sub) => !/^[89ab]/.test(sub.slice(19)))).toBe(true);
  });

  it('are UUIDs of version 4, and usernames, where the pool says so', async () => {
    const { pool } = await sdkSession({ pools: [{ subs: 'uuid4', usernames: 'sub' }] });
    const { Username, Attributes } = pool.create({ username: 'ignored' });
    expect(Username).toBe(Attributes?.[0]?.Value);
    expect(Username).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

it('a username or sub that is taken keeps a whole load out', async () => {
  const { pool, usernames } = await sdkSession();
  pool.create({ username: 'ada', attributes: [['sub', 'abc']] });
  for (const taken of [
    { username: 'ada' },
    { username: 'c', attributes: [['sub', 'abc'] as const] },
    { username: 'b' },
  ]) {
    expect(() => pool.load([{ username: 'b' }, taken])).toThrow(RangeError);
  }
  expect(await usernames()).toEqual(['ada']);
  expect(await usernames('username = "b"')).toEqual([]);
  pool.load([{ username: 'b' }]);
  expect(await usernames()).toEqual(['ada', 'b']);
});
