import {
  AdminCreateUserCommand,
  AdminGetUserCommand,
  DescribeUserPoolCommand,
  ListUsersCommand,
} from '@aws-sdk/client-cognito-identity-provider';
import { describe, expect, it, vi } from 'vitest';
import type { FaultPatch } from './faults.ts';
import { sdkSession } from './sdk-session.ts';

describe('failures', () => {
  it.each([
    ['InternalErrorException', 500],
    ['TooManyRequestsException', 400],
    ['NotAuthorizedException', 400],
    ['AccessDeniedException', 400],
    ['OperationNotEnabledException', 400],
    ['ResourceNotFoundException', 400],
    ['ExpiredTokenException', 400],
  ])('%s, by its name', async (error, httpStatusCode) => {
    const { emulator, pool, client } = await sdkSession();
    emulator.faults.set({ failures: [{ kind: 'error', error, message: 'as told' }] });
    await expect(client.send(new ListUsersCommand({ UserPoolId: pool.id }))).rejects.toMatchObject({
      name: error,
      message: 'as told',
      $metadata: { httpStatusCode },
    });
    expect(emulator.record.answers).toEqual({ [error]: 1 });
  });

  it('of one operation leave the others alone', async () => {
    const { emulator, pool, client } = await sdkSession();
    pool.create({ username: 'ada' });
    emulator.faults.set({
      failures: [{ kind: 'error', error: 'AccessDeniedException', operations: ['AdminGetUser'] }],
    });
    await client.send(new ListUsersCommand({ UserPoolId: pool.id }));
    const get = client.send(new AdminGetUserCommand({ UserPoolId: pool.id, Username: 'ada' }));
    await expect(get).rejects.toMatchObject({ name: 'AccessDeniedException' });
  });

  it('of one pool leave the others alone', async () => {
    const { emulator, client } = await sdkSession({ pools: [{ id: 'eu-west-1_a' }, { id: 'eu-west-1_b' }] });
    emulator.faults.set({ failures: [{ kind: 'error', pool: 'eu-west-1_a' }] });
    await client.send(new ListUsersCommand({ UserPoolId: 'eu-west-1_b' }));
    await expect(client.send(new ListUsersCommand({ UserPoolId: 'eu-west-1_a' }))).rejects.toThrow();
  });

  it.each([
    ['any', [undefined], ['sub ^= "a"', 'sub = "a"', 'status = "Enabled"']],
    ['none', ['sub ^= "a"', 'sub = "a"'], [undefined]],
    ['sub-prefix', [undefined, 'sub = "a"', 'username ^= "a"'], ['sub ^= "a"', '"sub"^="a"']],
    ['prefix', [undefined, 'sub = "^="'], ['sub ^= "a"', 'username ^= "a"']],
    ['exact', [undefined, 'sub ^= "="'], ['sub = "a"', '"username"="a"']],
  ] as const)('of filters: %s', async (filter, pass, fail) => {
    const { emulator, usernames } = await sdkSession();
    emulator.faults.set({ failures: [{ kind: 'error', error: 'InvalidParameterException', filter }] });
    for (const passing of pass) await usernames(passing);
    for (const failing of fail) {
      await expect(usernames(failing)).rejects.toMatchObject({ name: 'InvalidParameterException' });
    }
  });

  it('can begin after some requests, and end after some', async () => {
    const { emulator, usernames } = await sdkSession();
    emulator.faults.set({ failures: [{ kind: 'error', skip: 2, times: 2 }] });
    const outcomes: boolean[] = [];
    for (let i = 0; i < 6; i++)
      outcomes.push(
        await usernames().then(
          () => true,
          () => false,
        ),
      );
    expect(outcomes).toEqual([true, true, false, false, true, true]);
  });

  it('can come by chance, the same for the same seed', async () => {
    const outcomesOf = async (seed: number) => {
      const { emulator, usernames } = await sdkSession({ seed });
      emulator.faults.set({ failures: [{ kind: 'error', rate: 0.5 }] });
      const outcomes: boolean[] = [];
      for (let i = 0; i < 30; i++)
        outcomes.push(
          await usernames().then(
            () => true,
            () => false,
          ),
        );
      return outcomes;
    };
    const first = await outcomesOf(1);
    expect(first).toContain(true);
    expect(first).toContain(false);
    expect(await outcomesOf(1)).toEqual(first);
    expect(await outcomesOf(2)).not.toEqual(first);
  });

  it('an HTML page of a proxy surfaces as a SyntaxError', async () => {
    const { emulator, usernames } = await sdkSession();
    emulator.faults.set({ failures: [{ kind: 'html' }] });
    await expect(usernames()).rejects.toMatchObject({ name: 'SyntaxError', $metadata: { httpStatusCode: 502 } });
  });

  it('a connection dropped before the answer: nothing has been done', async () => {
    const { emulator, pool, client } = await sdkSession();
    emulator.faults.set({ failures: [{ kind: 'drop-before' }] });
    const create = client.send(new AdminCreateUserCommand({ UserPoolId: pool.id, Username: 'ada' }));
    await expect(create).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(pool.size).toBe(0);
  });

  it('a connection dropped in the middle of the answer: it has been done', async () => {
    const { emulator, pool, client } = await sdkSession();
    emulator.faults.set({ failures: [{ kind: 'drop-middle' }] });
    const create = client.send(new AdminCreateUserCommand({ UserPoolId: pool.id, Username: 'ada' }));
    await expect(create).rejects.toThrow();
    expect(pool.size).toBe(1);
    expect(emulator.record.answers).toEqual({ 'drop-middle': 1 });
  });

  it('an answer that never comes', async () => {
    const requestHandler = { requestTimeout: 50, throwOnRequestTimeout: true };
    const { emulator, usernames } = await sdkSession({}, { requestHandler });
    emulator.faults.set({ failures: [{ kind: 'hang' }] });
    await expect(usernames()).rejects.toMatchObject({ name: 'TimeoutError' });
    await vi.waitFor(() => expect(emulator.record.underWay).toBe(0));
  });

  it('the SDK’s own retries get over a few', async () => {
    const { emulator, usernames } = await sdkSession({}, { maxAttempts: 3 });
    emulator.faults.set({
      failures: [
        { kind: 'error', times: 1 },
        { kind: 'drop-before', times: 1 },
      ],
    });
    expect(await usernames()).toEqual([]);
    expect(emulator.record.requests['ListUsers']).toBe(3);
  });
});

it('throttles at a quota for each category, in a sliding second', async () => {
  let now = 1_700_000_000_000;
  const { emulator, pool, client, usernames } = await sdkSession({ now: () => now });
  pool.create({ username: 'ada' });
  emulator.faults.set({ quotas: { UserList: 3, UserRead: 2, UserPoolRead: 1 } });
  const throttled = { name: 'TooManyRequestsException' };
  const get = () => client.send(new AdminGetUserCommand({ UserPoolId: pool.id, Username: 'ada' }));
  const describePool = () => client.send(new DescribeUserPoolCommand({ UserPoolId: pool.id }));
  await usernames();
  now += 600;
  await usernames();
  await usernames();
  await expect(usernames()).rejects.toMatchObject(throttled);
  await get();
  await get();
  await expect(get()).rejects.toMatchObject(throttled);
  await describePool();
  await expect(describePool()).rejects.toMatchObject(throttled);
  now += 400;
  await usernames();
  await expect(usernames()).rejects.toMatchObject(throttled);
  expect(emulator.record.throttled).toBe(4);
});

it('answers take their time', async () => {
  const { emulator, usernames } = await sdkSession();
  emulator.faults.set({ latency: { ms: 40, jitterMs: 10 } });
  const began = performance.now();
  await usernames();
  expect(performance.now() - began).toBeGreaterThan(28);
});

it('refuses settings that it does not know, and keeps those it has', async () => {
  const { emulator } = await sdkSession();
  emulator.faults.set({ shortPages: 0.5 });
  expect(() => emulator.faults.set({ shortPage: 1 } as FaultPatch)).toThrow(/shortPage/);
  expect(() => emulator.faults.set({ emptyPages: 1 })).toThrow(/emptyPages/);
  emulator.faults.set({ emptyPages: 0.1 });
  expect(emulator.faults.settings).toMatchObject({ shortPages: 0.5, emptyPages: 0.1 });
});
