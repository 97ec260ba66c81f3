/** cognito-feed as a user runs it: a process of its own, from the checkout, told by its environment alone. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));

export interface FeedResult {
  readonly code: number | null;
  /** stdout and stderr as they came. */
  readonly output: string;
}

export async function cognitoFeed(
  args: readonly string[],
  settings: Readonly<Record<string, string>>,
): Promise<FeedResult> {
  const child = spawn('npm', ['run', '--silent', 'cognito-feed', '--', ...args], {
    cwd: CHECKOUT,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}
