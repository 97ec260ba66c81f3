/** docker-compose.yml, loaded by Compose's own loader; and its commands, settings and ports are those of the code. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { COMMANDS } from '../../services/cli/commands.ts';
import { loadSettings } from '../../shared/settings.ts';
import { SETTING_NAMES } from '../../shared/settings-schema.ts';
import { freePort } from '../servers/free-port.ts';
import { until } from '../until.ts';
import { parseDockerfile } from './dockerfile.ts';
import type { Manifest } from './helm.ts';
import { COMPOSE_PATH } from './tools.ts';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
/** What the AWS SDK reads for itself. */
const SDK = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'];
const OURS = ['migrate', 'poller', 'writer', 'publisher'];

/** Validated against the Compose Specification's schema, anchors merged, checked for consistency. */
async function load(...files: string[]): Promise<Manifest> {
  const { stdout } = await promisify(execFile)(COMPOSE_PATH, ['-format', 'json', ...files], { cwd: CHECKOUT });
  return JSON.parse(stdout.slice(stdout.indexOf('{')));
}

let services: Record<string, Manifest>;
let volumes: Record<string, Manifest>;
beforeAll(async () => {
  ({ services, volumes } = await load('docker-compose.yml'));
});

describe('docker-compose.yml', () => {
  it('is what the Compose Specification allows, and the loader refuses what it does not', async () => {
    expect(Object.keys(services).toSorted()).toEqual([...OURS, 'pool', 'postgres', 'receiver', 'redis'].toSorted());
    const folder = await mkdtemp(join(tmpdir(), 'compose-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    for (const [i, change] of ['{depend_on: [redis]}', '{ports: 5}', '{restart: [1]}'].entries()) {
      const file = join(folder, `${i}.yml`);
      await writeFile(file, `services: {poller: ${change}}\n`);
      await expect(load('docker-compose.yml', file), change).rejects.toThrow(/depend_on|ports|restart/);
    }
  });

  it('sets only what is a setting, and each service starts with what it is given', () => {
    for (const name of OURS) {
      const { environment, command } = services[name];
      const unknown = Object.keys(environment).filter(
        (it) => !SETTING_NAMES.includes(it as never) && !SDK.includes(it),
      );
      expect(unknown, name).toEqual([]);
      expect(command).toEqual([name]);
      const spec = COMMANDS.find((it) => it.name === name);
      expect(spec, name).toBeDefined();
      const { warnings } = loadSettings(environment, { needs: spec?.needs ?? {} });
      expect(
        warnings.filter((warning) => !/WEBHOOK/.test(warning)),
        name,
      ).toEqual([]);
    }
  });

  it('keeps credentials apart', () => {
    expect(services['poller'].environment).not.toHaveProperty('DATABASE_URL');
    expect(services['writer'].environment).not.toHaveProperty('AWS_SECRET_ACCESS_KEY');
    expect(services['publisher'].environment).not.toHaveProperty('REDIS_URL');
  });

  it('gives the emulator what it takes', () => {
    const flags = readFileSync(`${CHECKOUT}test/emulator/main.ts`, 'utf8').match(/EMULATOR_[A-Z]+/g);
    expect(Object.keys(services['pool'].environment).filter((name) => !flags?.includes(name))).toEqual([]);
    expect(services['poller'].environment.COGNITO_USER_POOL_ID).toBe(services['pool'].environment.EMULATOR_POOL);
  });

  it('has servers as they must be, their data in named volumes', () => {
    expect(services['postgres']).toMatchObject({
      image: 'postgres:18-alpine',
      command: expect.arrayContaining(['wal_level=logical']),
    });
    const redis = services['redis'].command.join(' ');
    expect(redis).toMatch(/--appendonly yes/);
    expect(redis).toMatch(/--maxmemory-policy noeviction/);
    expect(Object.keys(volumes)).toEqual(['postgres', 'redis']);
    // From 18 on the image keeps its data one folder deeper, and refuses a volume at the old place.
    expect(services['postgres'].volumes).toMatchObject([
      { type: 'volume', source: 'postgres', target: '/var/lib/postgresql' },
    ]);
    expect(services['redis'].volumes).toMatchObject([{ type: 'volume', source: 'redis', target: '/data' }]);
  });

  it('starts things when what they need is there', () => {
    const condition = (name: string, other: string) => services[name].depends_on[other].condition;
    expect(condition('migrate', 'postgres')).toBe('service_healthy');
    for (const name of ['writer', 'publisher'])
      expect(condition(name, 'migrate')).toBe('service_completed_successfully');
    for (const name of ['poller', 'writer']) expect(condition(name, 'redis')).toBe('service_healthy');
    for (const [name, service] of Object.entries(services))
      for (const [other, { condition: wanted }] of Object.entries<Manifest>(service.depends_on ?? {}))
        if (wanted === 'service_healthy')
          expect(services[other].healthcheck?.test, `${name} on ${other}`).toBeDefined();
  });

  it('builds targets that the Dockerfile has, of images that it names once', () => {
    const stages = parseDockerfile(readFileSync(`${CHECKOUT}Dockerfile`, 'utf8'));
    expect(stages.map(({ name }) => name)).toContain(services['pool'].build.target);
    expect(stages.at(-1)?.name).toBe('service');
    for (const name of OURS)
      expect(services[name]).toMatchObject({ image: 'cognito-feed', read_only: true, cap_drop: ['ALL'] });
  });

  it('publishes to this machine alone, and no port twice', () => {
    const ports = Object.values(services).flatMap((service) => service.ports ?? []);
    expect(new Set(ports.map(({ host_ip: ip }) => ip))).toEqual(new Set(['127.0.0.1']));
    expect(new Set(ports.map(({ published }) => published)).size).toBe(ports.length);
  });

  it('has health checks that tell an answer from none', async () => {
    const port = await freePort();
    const check = (script: string) => once(spawn(process.execPath, ['-e', script]), 'exit');
    for (const name of ['poller', 'pool']) {
      const script: string = services[name].healthcheck.test.at(-1).replace(/:\d{4}\//, `:${port}/`);
      expect((await check(script))[0], name).toBe(1);
      const server = createServer((_, response) => void response.end()).listen(port, '127.0.0.1');
      expect((await check(script))[0], name).toBe(0);
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
  });

  it('has a receiver that prints what it gets', async () => {
    const port = await freePort();
    const [, flag, script] = services['receiver'].entrypoint;
    const child = spawn(process.execPath, [flag, script.replace('8080', String(port))]);
    let printed = '';
    child.stdout.on('data', (chunk) => {
      printed += chunk;
    });
    const post = () =>
      fetch(`http://127.0.0.1:${port}/`, {
        method: 'POST',
        headers: { 'webhook-id': 'a.1.0' },
        body: JSON.stringify({ type: 'DELETE', record: null, old_record: { username: 'ann' } }),
      }).then(
        ({ ok }) => ok,
        () => false,
      );
    await until('the receiver', post);
    // Its answer and what it prints come by two ways.
    await until('what it prints', () => printed.endsWith('\n'));
    expect(printed).toBe('a.1.0 DELETE ann\n');
    const closed = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await closed).toEqual([0, null]);
  });
});
