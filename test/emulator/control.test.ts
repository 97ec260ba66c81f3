import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ControlOrder } from './control.ts';
import { sdkSession } from './sdk-session.ts';

async function order(endpoint: string, body: ControlOrder): Promise<Response> {
  return await fetch(`${endpoint}/__control`, { method: 'POST', body: JSON.stringify(body) });
}

describe('the control endpoint', () => {
  it('sets and resets faults', async () => {
    const { emulator, pool, pages } = await sdkSession();
    pool.fill(100);
    const set = await order(emulator.endpoint, { faults: { shortPages: 0.9, failures: [{ kind: 'html', times: 1 }] } });
    expect(await set.json()).toMatchObject({ faults: { shortPages: 0.9, failures: [{ kind: 'html', rate: 1 }] } });
    await expect(pages()).rejects.toMatchObject({ name: 'SyntaxError' });
    expect((await pages()).length).toBeGreaterThan(2);
    await order(emulator.endpoint, { reset: true });
    expect(await pages()).toHaveLength(2);
  });

  it('fills, churns, adds and deletes pools, and lists the truth', async () => {
    const { emulator, pages } = await sdkSession();
    const answer = await order(emulator.endpoint, {
      createPool: { id: 'eu-west-1_other', subs: 'uuid4' },
      pool: 'eu-west-1_other',
      fill: 1500,
      hostile: { users: 100 },
      churn: { steps: 20, seed: 3 },
    });
    const { churned, pools } = (await answer.json()) as { churned: unknown[]; pools: object[] };
    expect(churned).toHaveLength(20);
    const users = emulator.pool('eu-west-1_other').size;
    expect(pools).toContainEqual({ id: 'eu-west-1_other', clientId: 'euwest1other', users });
    const truth = await fetch(`${emulator.endpoint}/__control/users?pool=eu-west-1_other`);
    const lines = (await truth.text()).trimEnd().split('\n');
    expect(lines).toHaveLength(users);
    const names = (list: { Username?: string }[]) => list.map(({ Username }) => Username).sort();
    expect(names(lines.map((line) => JSON.parse(line)))).toEqual(
      names((await pages({ UserPoolId: 'eu-west-1_other' })).flat() as { Username?: string }[]),
    );
    await order(emulator.endpoint, { deletePool: 'eu-west-1_other' });
    await expect(pages({ UserPoolId: 'eu-west-1_other' })).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  });

  it('tells what was asked', async () => {
    const { emulator, pages } = await sdkSession();
    await pages();
    const state = await (await fetch(`${emulator.endpoint}/__control`)).json();
    expect(state).toMatchObject({ record: { requests: { ListUsers: 1 }, throttled: 0, peakListsPerSecond: 1 } });
    const record = await (await fetch(`${emulator.endpoint}/__control/record`)).json();
    expect(record).toMatchObject({ lists: [{ continued: false }], lookups: [] });
    await order(emulator.endpoint, { clearRecord: true });
    expect(emulator.record.requests).toEqual({});
  });

  it('refuses what it does not understand, and does nothing of it', async () => {
    const { emulator, pool } = await sdkSession();
    const refused = await order(emulator.endpoint, { fil: 5, fill: 5 } as ControlOrder);
    expect(refused.status).toBe(400);
    expect(await refused.text()).toContain('fil');
    expect((await order(emulator.endpoint, { pool: 'eu-west-1_none', fill: 1 })).status).toBe(400);
    expect(pool.size).toBe(0);
  });
});

describe('as a process of its own', () => {
  const main = fileURLToPath(new URL('./main.ts', import.meta.url));
  const start = (args: string[]): ChildProcess & { readonly stdout: Readable } => {
    const child = spawn(process.execPath, ['--import', 'tsx', main, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    return child as ChildProcess & { readonly stdout: Readable };
  };

  it('prints its endpoint, serves, and ends on SIGTERM with requests unanswered', async () => {
    const child = start(['--users', '20', '--hostile', '30', '--pool', 'eu-west-1_mine', '--seed', '9']);
    const [endpoint] = (await once(createInterface(child.stdout), 'line')) as [string];
    const state = await (await order(endpoint, { faults: { failures: [{ kind: 'hang' }] } })).json();
    expect(state).toMatchObject({ pools: [{ id: 'eu-west-1_mine', users: 50 }] });
    const hanging = fetch(endpoint, { method: 'POST', body: '{}' }).catch((error: unknown) => error);
    const underWay = async () =>
      (await (await fetch(`${endpoint}/__control`)).json()) as { record: { underWay: number } };
    await expect.poll(async () => (await underWay()).record.underWay).toBe(1);
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    expect(await hanging).toBeInstanceOf(Error);
  });

  it('refuses bad flags', async () => {
    const [code] = await once(start(['--port', 'x']), 'exit');
    expect(code).toBe(1);
  });
});
