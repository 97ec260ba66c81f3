/** Every block of README.md that needs no AWS, run in its order: commands from a shell in a checkout, SQL as it stands. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { redisOfFile, startFeed } from './feed.ts';
import { blocks } from './readme-blocks.ts';
import { freePort } from './servers/free-port.ts';
import { until } from './until.ts';

const redis = redisOfFile();
const CHECKOUT = new URL('..', import.meta.url).pathname;

/** A shell of its own process group, as a terminal's: a signal reaches all that it runs. */
function shell(script: string, env: Readonly<Record<string, string | undefined>>) {
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: CHECKOUT,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const closed = once(child, 'close') as Promise<[number | null]>;
  const signal = (name: NodeJS.Signals) => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, name);
  };
  onTestFinished(() => signal('SIGKILL'));
  return { signal, output: () => output, ended: async () => (await closed)[0] };
}

test('its commands and its SQL do what it says', { timeout: 120_000 }, async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(300);
  feed.pool.create({
    username: 'ada',
    attributes: [
      ['email', 'ada@example.com'],
      ['custom:plan', 'pro'],
    ],
  });
  const port = await freePort();
  const env = {
    ...feed.env,
    ...{ LOG_LEVEL: 'warn', HTTP_PORT: String(port), POLL_INTERVAL: '500ms' },
    ...{ AWS_ACCESS_KEY_ID: 'emulated', AWS_SECRET_ACCESS_KEY: 'emulated' },
  };
  const commands = blocks().filter(({ language, mark }) => language === 'sh' && mark === '');
  const commandLine = shell(commands.map(({ code }) => code).join(''), env);
  expect({ code: await commandLine.ended(), output: commandLine.output() }).toMatchObject({
    code: 0,
    output: expect.stringMatching(/301 inserted[\s\S]*^state +streaming$[\s\S]*^users +301$/m),
  });

  for (const { code, line } of blocks().filter(({ language }) => language === 'sql')) {
    await expect(
      feed.postgres.query(code).then(() => 'done'),
      `the block at line ${line}`,
    ).resolves.toBe('done');
  }
  const [query = ''] = blocks().flatMap(({ language, code }) => (language === 'sql' ? [code] : []));
  for (const statement of query.trim().split('\n')) expect((await feed.query(statement)).length).toBe(1);

  const [running, ...others] = blocks().filter(({ mark }) => mark === 'runs until it is stopped');
  expect(others).toEqual([]);
  const definition = commands.flatMap(({ code }) => code.split('\n')).find((line) => line.includes('()')) ?? '';
  // A shell at a prompt outlives the signal that its command gets; this one has to be told to.
  const service = shell(`trap : TERM\n${definition}\n${running?.code ?? ''}`, env);
  const answers = (path: string) => fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined);
  await until('/readyz', async () => (await answers('/readyz'))?.status === 200, service.output, 60_000);
  for (const path of ['/', '/healthz', '/metrics']) expect((await answers(path))?.status, path).toBe(200);

  feed.pool.update('ada', { email: 'ada@example.org' });
  const audited = await until('the trigger', async () => {
    const found = await feed.query<Record<string, unknown>>('select op, username, old, new from app.user_audit');
    return found.length > 0 && found;
  });
  expect(audited).toMatchObject([
    { op: 'UPDATE', username: 'ada', old: { email: 'ada@example.com' }, new: { email: 'ada@example.org' } },
  ]);
  service.signal('SIGTERM');
  expect({ code: await service.ended(), output: service.output() }).toMatchObject({ code: 0 });
});
