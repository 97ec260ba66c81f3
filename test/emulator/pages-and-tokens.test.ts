import { ListUsersCommand } from '@aws-sdk/client-cognito-identity-provider';
import { expect, it } from 'vitest';
import { sdkSession } from './sdk-session.ts';

it('pages can be short, or empty, and still carry a token; the chain shows everybody once', async () => {
  const { emulator, pool, pages } = await sdkSession();
  pool.fill(600);
  emulator.faults.set({ shortPages: 0.5, emptyPages: 0.3 });
  const shown = await pages();
  const sizes = shown.map(({ length }) => length);
  expect(sizes.slice(0, -1)).toContain(0);
  expect(sizes.slice(0, -1).some((size) => size > 0 && size < 60)).toBe(true);
  const usernames = shown.flat().map(({ Username }) => Username);
  expect(usernames).toHaveLength(600);
  expect(new Set(usernames).size).toBe(600);
});

it('the page of an exact look can be empty, too', async () => {
  const { emulator, pool, pages } = await sdkSession();
  pool.create({ username: 'ada' });
  emulator.faults.set({ emptyPages: 0.99 });
  const shown = await pages({ Filter: 'username = "ada"' });
  expect(shown.length).toBeGreaterThan(1);
  expect(shown.flat()).toHaveLength(1);
});

it('tokens live for an hour, or as long as one says', async () => {
  let now = Date.now();
  const { emulator, pool, client } = await sdkSession({ now: () => now });
  pool.fill(100);
  const request = { UserPoolId: pool.id, Limit: 60 };
  const { PaginationToken } = await client.send(new ListUsersCommand(request));
  const goOn = () => client.send(new ListUsersCommand({ ...request, PaginationToken }));
  now += 3_600_000;
  expect((await goOn()).Users).toHaveLength(40);
  now += 1;
  await expect(goOn()).rejects.toMatchObject({ name: 'InvalidParameterException' });
  emulator.faults.set({ tokenLifetimeMs: 4_000_000 });
  expect((await goOn()).Users).toHaveLength(40);
});

it('tokens can be refused after so many pages', async () => {
  const { emulator, pool, pages } = await sdkSession();
  pool.fill(300);
  emulator.faults.set({ tokenLifetimePages: 3 });
  await expect(pages()).rejects.toMatchObject({ name: 'InvalidParameterException' });
  expect(emulator.record.requests['ListUsers']).toBe(4);
});

it('a token can be refused once', async () => {
  const { emulator, pool, pages } = await sdkSession();
  pool.fill(100);
  emulator.faults.set({ failures: [{ kind: 'error', error: 'InvalidParameterException', token: true, times: 1 }] });
  await expect(pages()).rejects.toMatchObject({ name: 'InvalidParameterException' });
  expect((await pages()).flat()).toHaveLength(100);
});

it('attributes can come in another order at each answer', async () => {
  const { emulator, pool, pages } = await sdkSession();
  pool.create({
    username: 'ada',
    attributes: Array.from({ length: 20 }, (_, i) => [`custom:${i}`, String(i)] as const),
  });
  emulator.faults.set({ shuffleAttributes: true });
  const [one, other] = [(await pages()).flat()[0]?.Attributes, (await pages()).flat()[0]?.Attributes];
  expect(one).not.toEqual(other);
  const byName = (list = one) => [...(list ?? [])].sort((a, b) => ((a.Name ?? '') < (b.Name ?? '') ? -1 : 1));
  expect(byName(one)).toEqual(byName(other));
});
