import { AdminGetUserCommand } from '@aws-sdk/client-cognito-identity-provider';
import { describe, expect, it } from 'vitest';
import { sdkSession } from './sdk-session.ts';

/** A session with a clock of its own. */
async function clocked() {
  let now = 1_700_000_000_000;
  const session = await sdkSession({ now: () => now });
  const knows = async (Username: string) =>
    (await session.client.send(new AdminGetUserCommand({ UserPoolId: session.pool.id, Username }))).Username ===
    Username;
  const pass = (ms: number): void => {
    now += ms;
  };
  return { ...session, knows, pass };
}

describe('missing users', () => {
  it.each([
    ['scan', { scan: [], exact: ['ada'] }],
    ['exact', { scan: ['ada'], exact: [] }],
    ['both', { scan: [], exact: [] }],
  ] as const)('are hidden from %s, while AdminGetUser knows them', async (from, seen) => {
    const { emulator, pool, usernames, knows } = await clocked();
    const sub = pool.create({ username: 'ada' }).Attributes?.[0]?.Value;
    emulator.faults.set({ missing: [{ users: ['ada'], from }] });
    expect(await usernames()).toEqual(seen.scan);
    expect(await usernames('cognito:user_status = "CONFIRMED"')).toEqual(seen.scan);
    expect(await usernames(`sub ^= "${sub?.[0]}"`)).toEqual(seen.scan);
    expect(await usernames(`sub = "${sub}"`)).toEqual(seen.exact);
    expect(await usernames('username = "ada"')).toEqual(seen.exact);
    expect(await knows('ada')).toBe(true);
    emulator.faults.reset();
    expect(await usernames()).toEqual(['ada']);
  });

  it('can be a share of all, the same ones at each look', async () => {
    const { emulator, pool, usernames, pages } = await clocked();
    pool.fill(1000);
    emulator.faults.set({ missing: [{ share: 0.2 }] });
    const shown = await usernames();
    expect(shown.length).toBeGreaterThan(740);
    expect(shown.length).toBeLessThan(860);
    expect(await usernames()).toEqual(shown);
    expect((await pages()).slice(0, -1).every(({ length }) => length === 60)).toBe(true);
  });

  it('can come and go', async () => {
    const { emulator, pool, usernames } = await clocked();
    pool.create({ username: 'ada' });
    emulator.faults.set({ missing: [{ users: ['ada'], rate: 0.5 }] });
    const looks: number[] = [];
    for (let i = 0; i < 20; i++) looks.push((await usernames()).length);
    expect(new Set(looks)).toEqual(new Set([0, 1]));
  });
});

it('late: a new user is listed after a while', async () => {
  const { emulator, usernames, pool, knows, pass } = await clocked();
  emulator.faults.set({ late: [{ forMs: 500 }] });
  pool.create({ username: 'ada' });
  expect(await usernames()).toEqual([]);
  expect(await knows('ada')).toBe(true);
  pass(500);
  expect(await usernames()).toEqual(['ada']);
});

describe('stale users', () => {
  it('are listed as they were before the write, for a while', async () => {
    const { emulator, pool, pages, client, pass } = await clocked();
    const before = pool.create({ username: 'ada', attributes: [['email', 'a@example.com']] });
    emulator.faults.set({ stale: [{ forMs: 500 }] });
    pass(10);
    pool.update('ada', { email: 'b@example.com' });
    pool.disable('ada');
    expect((await pages()).flat()).toEqual([before]);
    expect((await pages({ Filter: 'username = "ada"' })).flat()).toEqual([before]);
    const truth = await client.send(new AdminGetUserCommand({ UserPoolId: pool.id, Username: 'ada' }));
    expect(truth.Enabled).toBe(false);
    pass(500);
    expect((await pages()).flat()).toEqual([pool.get('ada')]);
  });

  it('are in no list that their older version is not about', async () => {
    const { emulator, pool, usernames } = await clocked();
    pool.create({ username: 'ada', status: 'UNCONFIRMED' });
    emulator.faults.set({ stale: [{}] });
    pool.setStatus('ada', 'CONFIRMED');
    expect(await usernames('cognito:user_status = "CONFIRMED"')).toEqual([]);
    expect(await usernames()).toEqual(['ada']);
  });

  it('can flicker between the two versions', async () => {
    const { emulator, pool, pages } = await clocked();
    pool.create({ username: 'ada', attributes: [['email', 'a@example.com']] });
    emulator.faults.set({ stale: [{ rate: 0.5 }] });
    pool.update('ada', { email: 'b@example.com' });
    const seen = new Set<string | undefined>();
    for (let i = 0; i < 20; i++) seen.add((await pages()).flat()[0]?.Attributes?.[1]?.Value);
    expect(seen).toEqual(new Set(['a@example.com', 'b@example.com']));
  });
});

describe('ghosts', () => {
  it('are listed for a while after the delete, while AdminGetUser does not know them', async () => {
    const { emulator, pool, usernames, knows, pass } = await clocked();
    const sub = pool.create({ username: 'ada' }).Attributes?.[0]?.Value;
    emulator.faults.set({ ghosts: [{ forMs: 500 }] });
    pool.delete('ada');
    expect(pool.size).toBe(0);
    expect([...pool.users()]).toEqual([]);
    expect(await usernames()).toEqual(['ada']);
    expect(await usernames(`sub = "${sub}"`)).toEqual(['ada']);
    await expect(knows('ada')).rejects.toMatchObject({ name: 'UserNotFoundException' });
    pass(500);
    expect(await usernames()).toEqual([]);
    expect(await usernames(`sub = "${sub}"`)).toEqual([]);
  });

  it('stand beside the user who has their username now', async () => {
    const { emulator, pool, pages } = await clocked();
    const ghost = pool.create({ username: 'ada' });
    emulator.faults.set({ ghosts: [{ from: 'scan' }] });
    const alive = pool.reuse('ada', { attributes: [['email', 'new@example.com']] });
    const shown = (await pages()).flat();
    expect(shown).toHaveLength(2);
    expect(shown).toEqual(expect.arrayContaining([ghost, alive]));
    expect((await pages({ Filter: 'username = "ada"' })).flat()).toEqual([alive]);
    expect([...pool.users()]).toEqual([alive]);
    emulator.faults.set({ ghosts: [] });
    expect((await pages()).flat()).toEqual([alive]);
  });
});
