import { expect, it } from 'vitest';
import type { CognitoUser } from '../../shared/user.ts';
import { churn } from './churn.ts';
import { Emulator } from './emulator.ts';
import { sdkSession } from './sdk-session.ts';

it('says each change that it makes: who replays the steps has the pool', async () => {
  const { pool, pages } = await sdkSession();
  pool.fill(50);
  const replayed = new Map<string | undefined, CognitoUser>();
  for (const user of pool.users()) replayed.set(user.Username, user);
  const kinds = new Map<string, number>();
  const steps = churn(pool, { seed: 1 });
  for (let i = 0; i < 1000; i++) {
    const { kind, username, sub, before, after } = steps.next().value;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    expect(before).toEqual(replayed.get(username));
    expect(after).not.toEqual(before);
    expect((after ?? before)?.Attributes).toContainEqual({ Name: 'sub', Value: sub });
    if (kind === 'reuse') expect(Number(after?.UserCreateDate)).toBeGreaterThan(Number(before?.UserCreateDate));
    if (after === undefined) replayed.delete(username);
    else replayed.set(username, after);
  }
  expect([...kinds.keys()].sort()).toEqual(['confirm', 'delete', 'disable', 'enable', 'reuse', 'sign-up', 'update']);
  const shown = (await pages()).flat();
  expect(shown).toHaveLength(replayed.size);
  for (const user of shown) expect(user).toEqual(replayed.get(user.Username));
});

it('repeats itself for the same seed, and fits pools whose usernames are subs', async () => {
  const traceOf = async (seed: number) => {
    const { pool } = await sdkSession({ seed: 1, pools: [{ usernames: 'sub' }], now: () => 1_700_000_000_000 });
    const steps = churn(pool, { seed });
    return Array.from({ length: 100 }, () => steps.next().value);
  };
  const first = await traceOf(1);
  expect(await traceOf(1)).toEqual(first);
  expect(await traceOf(2)).not.toEqual(first);
  expect(first.some(({ kind }) => kind === 'reuse')).toBe(false);
});

it('can be told what to do how often', async () => {
  const emulator = await Emulator.start();
  const pool = emulator.pool();
  const weights = { 'sign-up': 0, confirm: 0, update: 0, disable: 0, enable: 0, reuse: 0, delete: 1 };
  pool.fill(10);
  const steps = churn(pool, { seed: 1, weights });
  const kinds = Array.from({ length: 10 }, () => steps.next().value.kind);
  expect(new Set(kinds)).toEqual(new Set(['delete']));
  expect(pool.size).toBe(0);
  await emulator.stop();
});
