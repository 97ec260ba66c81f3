/** How the process ends: by signals, singly and in pairs, in pipes, and by an error that nobody caught. */
import { type ChildProcess, spawn } from 'node:child_process';
import { describe, expect, it } from 'vitest';

const CHECKOUT = new URL('..', import.meta.url).pathname;

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderr: string;
  /** From the last signal to the end. */
  readonly ms: number;
}

async function untilWaiting(command: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/fixtures/waiting-cli.ts', command], {
    cwd: CHECKOUT,
  });
  await new Promise<void>((resolve) => child.stdout?.once('data', () => resolve()));
  return child;
}

/** @param pauses milliseconds before each signal; the first is sent at once */
async function ended(child: ChildProcess, signal: NodeJS.Signals | null, ...pauses: number[]): Promise<Ended> {
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const exit = new Promise<[number | null, string | null]>((resolve) => child.once('close', (...how) => resolve(how)));
  let startedAt = performance.now();
  for (const pause of signal === null ? [] : [0, ...pauses]) {
    // Time is what the rule is about: there is no condition to wait for.
    await new Promise((resolve) => setTimeout(resolve, pause));
    startedAt = performance.now();
    child.kill(signal ?? undefined);
  }
  const [code, by] = await exit;
  return { code, signal: by, stderr, ms: performance.now() - startedAt };
}

describe.concurrent('the process', { timeout: 30_000 }, () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('ends with 0 at one %s, though something still holds it', async (signal) => {
    const { code, ms } = await ended(await untilWaiting('polite'), signal);
    expect(code).toBe(0);
    expect(ms).toBeLessThan(5_000);
  });

  it('ends with 0 at a pair of signals', async () => {
    expect(await ended(await untilWaiting('polite'), 'SIGTERM', 0)).toMatchObject({ code: 0, signal: null });
    expect(await ended(await untilWaiting('polite'), 'SIGTERM', 100)).toMatchObject({ code: 0, signal: null });
  });

  it('takes a wait that the signal cut short for the end that was asked for', async () => {
    const { code, stderr } = await ended(await untilWaiting('cut-short'), 'SIGINT');
    expect(code).toBe(0);
    expect(stderr).not.toContain('cognito-feed:');
  });

  it('exits at once at a second signal more than a second later', async () => {
    const { code, ms } = await ended(await untilWaiting('deaf'), 'SIGTERM', 1_300);
    expect(code).toBe(143);
    expect(ms).toBeLessThan(1_000);
  });

  it('gives up before 10 s are over and says what it left undone', async () => {
    const { code, stderr, ms } = await ended(await untilWaiting('deaf'), 'SIGTERM');
    expect(code).toBe(1);
    expect(stderr).toContain('"undone":["a batch"]');
    expect(ms).toBeLessThan(10_000);
  });

  it('ends quietly when nobody reads its output', async () => {
    const child = await untilWaiting('talkative');
    child.stdout?.destroy();
    const { code, stderr } = await ended(child, null);
    expect(code).toBe(0);
    expect(stderr).not.toMatch(/EPIPE|error/i);
  });

  it('exits 1 in one line at an error that nobody caught, without its message', async () => {
    const child = spawn(process.execPath, ['--import', 'tsx', 'test/fixtures/waiting-cli.ts', 'broken'], {
      cwd: CHECKOUT,
    });
    const { code, stderr } = await ended(child, null);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^cognito-feed: an error that cognito-feed does not know: Error at waiting-cli\.ts:\d+; .*\n$/,
    );
    expect(stderr).not.toContain('CANARY');
  });
});
