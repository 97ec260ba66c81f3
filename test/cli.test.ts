/** The command line from the outside: exit codes and what is said, on real processes. A start costs most of a second. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COMMANDS } from '../services/cli/commands.ts';
import { SETTING_NAMES } from '../shared/settings-schema.ts';

const CHECKOUT = new URL('..', import.meta.url).pathname;

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const { PATH = '' } = process.env;
  return spawn(process.execPath, ['--import', 'tsx', 'services/cli/main.ts', ...args], {
    cwd: CHECKOUT,
    env: { PATH, ...env },
  });
}

async function result(child: ChildProcess): Promise<Result> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout, stderr };
}

const run = (args: readonly string[], env?: Record<string, string>): Promise<Result> => result(start(args, env));

/** Counts connections and answers nothing: no command may open one before its settings are right. */
let listener: Server;
let connections = 0;
let address = '';
const folder = mkdtempSync(join(tmpdir(), 'cognito-feed-cli-'));

beforeAll(async () => {
  listener = createServer((socket) => {
    connections += 1;
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  address = `127.0.0.1:${(listener.address() as { port: number }).port}`;
});
afterAll(() => {
  listener.close();
  rmSync(folder, { recursive: true });
});

describe.concurrent('cognito-feed', { timeout: 30_000 }, () => {
  it('--help lists every command and setting', async () => {
    const { code, stdout, stderr } = await run(['--help']);
    expect([code, stderr]).toEqual([0, '']);
    for (const { name } of COMMANDS) expect(stdout).toContain(`\n  ${name.split(' ')[0]} `);
    for (const name of SETTING_NAMES) expect(stdout).toContain(`\n  ${name} `);
    expect(stdout).toContain('--pool');
  });

  it('--version is the release', async () => {
    const { version } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as { version: string };
    expect(await run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('COMMAND --help knows --pool, and needs no settings', async () => {
    const { code, stdout } = await run(['migrate', '--help']);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/--roles[\s\S]*--pool/)]);
  });

  it.each([
    [[], /Usage: cognito-feed/],
    [['nonsense'], /^cognito-feed: unknown command 'nonsense'\n$/],
    [['status', '--nonsense'], /^cognito-feed: unknown option '--nonsense'\n$/],
    [['sync', 'extra'], /^cognito-feed: too many arguments/],
    [['demo', '--users', 'many'], /^cognito-feed: option '--users <n>' argument 'many' is invalid/],
  ])('exits 2 at bad usage: %j', async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
  });

  it('exits 2 with all bad settings in one message, without a connection or a secret', async () => {
    const env = {
      REDIS_URL: `redis://${address}`,
      DATABASE_URL: `postgres://u:hunter22@${address}/d?sslmode=x`,
      POLL_INTERVAL: '5',
      HTTP_PORT: 'x',
    };
    const { code, stdout, stderr } = await run(['sync'], env);
    expect([code, stdout]).toEqual([2, '']);
    for (const name of ['COGNITO_USER_POOL_ID', 'DATABASE_URL', 'POLL_INTERVAL', 'HTTP_PORT'])
      expect(stderr).toContain(`- ${name} `);
    expect(stderr).not.toContain('hunter22');
    expect(connections).toBe(0);
  });

  it('exits 2 at a --pool that is none of the pools', async () => {
    const path = join(folder, 'feed.yaml');
    writeFileSync(path, 'pools:\n  - {cognitoUserPoolId: a, databaseUrl: postgres://h/a}\n');
    const { code, stderr } = await run(['status', '--pool', 'b'], { COGNITO_FEED_CONFIG: path });
    expect([code, stderr]).toEqual([
      2,
      'cognito-feed: Bad settings: --pool is "b", none of the pools in the settings: a\n',
    ]);
  });

  it('exits 1 at a failure, in one plain line; with the places of calls at debug', async () => {
    const env = { DATABASE_URL: 'postgres://u:hunter22@127.0.0.1:1/d' };
    const plain = await run(['migrate'], env);
    expect(plain).toMatchObject({ code: 1, stdout: '' });
    expect(plain.stderr).toMatch(/^cognito-feed: [^\n]*127\.0\.0\.1:1[^\n]*\n$/);
    const debug = await run(['migrate'], { ...env, LOG_LEVEL: 'debug' });
    expect(debug.code).toBe(1);
    expect(debug.stderr).toContain('services/cli/commands/migrate.ts:');
    expect(plain.stderr + debug.stderr).not.toContain('hunter22');
  });
});
