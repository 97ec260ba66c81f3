/**
 * What a bench needs of processes: start one, know its CPU and memory, stop it. Linux's /proc is the source (proc(5)).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** USER_HZ, which is 100 on every Linux that Node runs on. */
const TICKS_A_SECOND = 100;

export class Measured {
  readonly child: ChildProcess;
  readonly #errors: string[] = [];

  private constructor(child: ChildProcess) {
    this.child = child;
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#errors.push(chunk.toString());
      if (this.#errors.length > 50) this.#errors.shift();
    });
  }

  static node(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Measured {
    return new Measured(
      spawn(process.execPath, ['--import', 'tsx', file, ...args], {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  }

  /** The first line it prints. @throws Error with its stderr where it ends before */
  async firstLine(): Promise<string> {
    const lines = createInterface({ input: this.child.stdout as NodeJS.ReadableStream });
    const ended = once(this.child, 'exit').then(() => {
      throw new Error(`ended before it said anything:\n${this.#errors.join('')}`);
    });
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string];
    ended.catch(() => undefined);
    return line;
  }

  /** All of its output, once it has ended with 0. */
  async output(): Promise<string> {
    const chunks: string[] = [];
    this.child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
    const [code] = (await once(this.child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`exit ${code}:\n${this.#errors.join('')}`);
    return chunks.join('');
  }

  /** User and system time so far, in seconds. */
  cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.child.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
  }

  /** Resident now, and at its highest, in MB (10^6 bytes). */
  memoryMb(): { now: number; peak: number } {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    const kb = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
    return { now: (kb('VmRSS') * 1024) / 1e6, peak: (kb('VmHWM') * 1024) / 1e6 };
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGTERM');
    await once(this.child, 'exit');
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
