/** However the process that started servers ends, nothing of them stays. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { platform } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test, vi } from 'vitest';

const FIXTURE = fileURLToPath(new URL('left-behind.fixture.ts', import.meta.url));

let parent: ChildProcess | undefined;
afterEach(() => parent?.kill('SIGKILL'));

async function startParent(...args: string[]): Promise<{ pids: number[]; folders: string[] }> {
  parent = spawn(process.execPath, ['--import', 'tsx', FIXTURE, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (parent.stdout === null) throw new Error('no stdout');
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string];
  return JSON.parse(line);
}

/** A zombie counts as gone: it waits for an init that reaps, which a container may not have. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return platform() !== 'linux' || !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

test.each([
  ['is killed by SIGKILL', [], 'SIGKILL'],
  ['is killed while its Postgres is stopped', ['paused'], 'SIGKILL'],
  ['is told to end by SIGTERM', [], 'SIGTERM'],
  ['exits without stopping them', ['return'], undefined],
] as const)('a parent that %s leaves no server and no folder', async (_how, args, signal) => {
  const { pids, folders } = await startParent(...args);
  expect(pids.length).toBeGreaterThan(3);
  if (signal !== undefined) {
    expect(pids.filter(isAlive)).toEqual(pids);
    expect(folders.filter((folder) => existsSync(folder))).toEqual(folders);
    parent?.kill(signal);
  }
  await vi.waitFor(
    () => {
      expect(pids.filter(isAlive)).toEqual([]);
      expect(folders.filter((folder) => existsSync(folder))).toEqual([]);
    },
    { timeout: 20_000, interval: 50 },
  );
});
