/** A service in a process of its own that is to die, or to be stopped, at a named point. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import type { Env } from '../../shared/settings-source.ts';
import { until } from '../until.ts';
import type { CrashPoint } from './points.ts';

const CHECKOUT = new URL('../..', import.meta.url).pathname;
const PATIENCE_MS = 30_000;

export interface Victim {
  /** Resolves when it has died at its point, with the time (performance.now). @throws when it ends otherwise, or lives on */
  readonly died: Promise<number>;
}

export interface StoppedVictim {
  /** Resolves when it has been stopped at its point, with the time. @throws when it ends, or goes on */
  readonly stopped: Promise<number>;
  wakeUp(): void;
  /** What it has said so far. */
  said(): string;
}

/** @param hit at which of the times that it comes to the point it dies */
export function startVictim(command: 'poller' | 'writer', env: Env, point: CrashPoint, hit = 1): Victim {
  const { child, said } = start(command, env, point, hit, 'SIGKILL');
  const died = new Promise<number>((resolve, reject) => {
    const late = setTimeout(
      () => reject(new Error(`it has not come to "${point}"\n${said().slice(-3_000)}`)),
      PATIENCE_MS,
    );
    child.once('exit', (code, signal) => {
      const at = performance.now();
      clearTimeout(late);
      if (signal === 'SIGKILL' && said().includes(`crashed: ${point}`)) resolve(at);
      else reject(new Error(`it ended with ${code ?? signal} and not at "${point}"\n${said().slice(-3_000)}`));
    });
  });
  died.catch(() => undefined);
  return { died };
}

/** The same, but it is only stopped there (SIGSTOP), and wakes up when it is told to. */
export function startStoppedVictim(command: 'poller' | 'writer', env: Env, point: CrashPoint, hit = 1): StoppedVictim {
  const { child, said } = start(command, env, point, hit, 'SIGSTOP');
  const stopped = until(
    `a ${command} at "${point}"`,
    () => said().includes(`crashed: ${point}`),
    () => said().slice(-3_000),
    PATIENCE_MS,
  ).then(() => performance.now());
  stopped.catch(() => undefined);
  return { stopped, said, wakeUp: () => void child.kill('SIGCONT') };
}

function start(command: string, env: Env, point: CrashPoint, hit: number, signal: 'SIGKILL' | 'SIGSTOP') {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/crash/process.ts', command], {
    cwd: CHECKOUT,
    env: {
      PATH: process.env['PATH'],
      AWS_ACCESS_KEY_ID: 'emulated',
      AWS_SECRET_ACCESS_KEY: 'emulated',
      ...env,
      CRASH_AT: point,
      CRASH_HIT: String(hit),
      CRASH_BY: signal,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => {
      said += data;
    });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  });
  return { child, said: () => said };
}
