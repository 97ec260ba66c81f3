/** COGNITO_FOREIGN_SERVER: pool, Region and keys from a Wrappers server. */
import { createServer as createHttp } from 'node:http';
import type pg from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { readForeignServer } from '../shared/foreign-server.ts';
import { withClient } from '../shared/postgres.ts';
import type { Env } from '../shared/settings-source.ts';
import { cliHere, startCli } from './cli-here.ts';
import { Feed, freshEmulator, redisOfFile } from './feed.ts';
import { get } from './feed-process.ts';
import { connected, freshDatabase, freshLogin, thrownBy } from './fresh-database.ts';
import { freePort } from './servers/free-port.ts';
import { until } from './until.ts';
import { createServer, createVault, KEY_ID, SECRET, SERVER } from './wrappers-stand-in.ts';

const redis = redisOfFile();
const ALL = { region: 'eu-west-1', user_pool_id: 'eu-west-1_Foreign', aws_access_key_id: KEY_ID };

const read = (postgres: pg.Pool, name = SERVER, withKeys = true) =>
  withClient(postgres, (client) => readForeignServer(client, name, withKeys));
const refusal = async (postgres: pg.Pool) => ((await thrownBy(read(postgres))) as Error | undefined)?.message;

/** Passes requests on to the emulator and notes who signed them. */
async function signedDoor(endpoint: string): Promise<{ url: string; signers: Set<string> }> {
  const signers = new Set<string>();
  const server = createHttp(async (request, response) => {
    signers.add(
      /Credential=([^,]*?)\/\d{8}\/([^/]*)/
        .exec(request.headers.authorization ?? '')
        ?.slice(1)
        .join(' ') ?? '',
    );
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { host: _, connection: __, 'content-length': ___, expect: ____, ...headers } = request.headers;
    const answer = await fetch(endpoint, {
      method: 'POST',
      headers: headers as Record<string, string>,
      body: Buffer.concat(chunks),
    });
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, signers };
}

describe.each(['postgres15', 'postgres18'] as const)('%s', (major) => {
  test('a server is read as Wrappers reads it', async () => {
    const postgres = connected((await freshDatabase(inject(major))).url);
    const id = await createVault(postgres, 'cognito', SECRET);
    const keys = { accessKeyId: KEY_ID, secretAccessKey: SECRET };
    const pool = { poolId: ALL.user_pool_id, region: ALL.region };
    await createServer(postgres, { ...ALL, aws_secret_access_key: SECRET, endpoint_url: 'http://127.0.0.1:9' });
    expect(await read(postgres)).toEqual({ ...pool, endpoint: 'http://127.0.0.1:9', keys });
    expect(await read(postgres, SERVER, false)).toMatchObject({ ...pool, keys: null });
    for (const [server, secret] of [
      ['by_id', id.toUpperCase()],
      ['by_name', 'cognito'],
    ] as const) {
      await createServer(postgres, { ...ALL, api_key_id: secret, endpoint_url: '' }, server);
      expect(await read(postgres, server)).toEqual({ ...pool, endpoint: null, keys });
    }
    // An older Vault.
    await postgres.query(`alter table vault.secrets add column key_id uuid default gen_random_uuid();
      create or replace view vault.decrypted_secrets as select id, name, secret as decrypted_secret, key_id from vault.secrets`);
    const { rows } = await postgres.query<{ key: string }>('select key_id::text as key from vault.secrets');
    await createServer(postgres, { ...ALL, api_key_id: rows[0]?.key ?? '' }, 'by_key');
    expect(await read(postgres, 'by_key')).toEqual({ ...pool, endpoint: null, keys });
  });

  test('each thing that is missing is said in one line, without a key', async () => {
    const login = await freshLogin(inject(major));
    const { url, urlAs } = await freshDatabase(inject(major));
    const postgres = connected(url);
    const said = [await refusal(postgres)];
    expect(said[0]).toBe('COGNITO_FOREIGN_SERVER: this database has no foreign server cognito_server; there is none');
    await createServer(postgres, {}, 'other_server');
    expect(await refusal(postgres)).toMatch(/has no foreign server cognito_server; there is other_server$/);
    await createServer(postgres, {});
    expect(await refusal(postgres)).toMatch(
      /^the foreign server cognito_server lacks the options region, user_pool_id, aws_access_key_id, aws_secret_access_key \(or api_key_id, a secret of the Vault\)/,
    );
    const set = (text: string) => postgres.query(`alter server ${SERVER} options (${text})`);
    await set(`add region 'eu-west-1', add user_pool_id 'eu-west-1_Foreign', add aws_access_key_id '${KEY_ID}'`);
    expect(await refusal(postgres)).toMatch(/lacks the option aws_secret_access_key \(or/);
    await set(`add api_key_id '${SECRET}'`);
    said.push(await refusal(postgres));
    expect(said.at(-1)).toMatch(/has no Vault \(vault\.decrypted_secrets\): create extension supabase_vault/);
    const id = await createVault(postgres, 'cognito', '');
    said.push(await refusal(postgres));
    expect(said.at(-1)).toMatch(/^the api_key_id of the foreign server cognito_server is no secret of the Vault/);
    await set(`set api_key_id '${id}'`);
    expect(await refusal(postgres)).toMatch(/is an empty secret of the Vault/);
    await postgres.query('update vault.secrets set secret = $1', [SECRET]);
    expect(await refusal(postgres)).toBeUndefined();
    const other = connected(urlAs(login.name, login.password));
    said.push(await refusal(other));
    expect(said.at(-1)).toMatch(/^this role may not read the Vault, .*: grant usage on schema vault and select on/);
    await postgres.query(`grant usage on schema vault to ${login.name}`);
    expect(await refusal(other)).toMatch(/^this role may not read the Vault/);
    await postgres.query(`grant select on vault.decrypted_secrets to ${login.name}`);
    expect(await refusal(other)).toBeUndefined();
    for (const line of said) expect(line).not.toMatch(/\n|AKIA|foreign\/secret/);
  });

  test('sync, verify and run read the pool by it, with its keys in their requests alone', async () => {
    const database = await freshDatabase(inject(major));
    const feed = new Feed({ redis }, database, await freshEmulator());
    feed.pool.fill(130);
    const door = await signedDoor(feed.emulator.endpoint);
    const id = await createVault(feed.postgres, 'cognito', SECRET);
    await createServer(feed.postgres, {
      region: 'ap-southeast-2',
      user_pool_id: feed.pool.id,
      aws_access_key_id: KEY_ID,
      api_key_id: id,
      endpoint_url: door.url,
    });
    const { COGNITO_USER_POOL_ID: _, AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: __, ...rest } = feed.env;
    const port = await freePort();
    const env: Env = { ...rest, COGNITO_FOREIGN_SERVER: SERVER, LOG_LEVEL: 'error', HTTP_PORT: String(port) };
    expect(await cliHere(['migrate'], env)).toMatchObject({ code: 0 });

    const synced = await cliHere(['sync'], env);
    expect(synced, synced.stderr).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(' deletes held, 0 rows rejected'),
    });
    expect(await cliHere(['verify'], env)).toMatchObject({ code: 0 });
    await feed.expectMirrorEqualsPool();
    expect([...door.signers]).toEqual([`${KEY_ID} ap-southeast-2`]);
    expect(Object.values(process.env)).not.toContain(SECRET);
    expect(JSON.parse((await cliHere(['status', '--json'], env)).stdout).pools).toMatchObject([{ pool: feed.pool.id }]);
    for (const command of [['deletes', 'list'], ['tail'], ['resync']])
      expect(await cliHere(command, env), command.join(' ')).toMatchObject({ code: 0 });

    const running = startCli(['run'], env);
    await until('ready', async () => (await get(port, '/readyz'))?.status === 200);
    running.stop();
    expect(await running.done).toMatchObject({ code: 0, stderr: '' });
  });
});

test('--pool is compared with what the server names; a poller alone is refused before anything connects', async () => {
  const database = await freshDatabase(inject('postgres18'));
  const feed = new Feed({ redis }, database, await freshEmulator());
  const { COGNITO_USER_POOL_ID: _, ...rest } = feed.env;
  const env: Env = { ...rest, COGNITO_FOREIGN_SERVER: SERVER, LOG_LEVEL: 'error' };
  const missing = await cliHere(['sync'], env);
  expect(missing).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^cognito-feed: COGNITO_FOREIGN_SERVER: [^\n]*\n$/),
  });
  await createServer(feed.postgres, { ...ALL, user_pool_id: feed.pool.id, aws_secret_access_key: SECRET });
  expect(await cliHere(['migrate'], env)).toMatchObject({ code: 0 });
  expect(await cliHere(['sync', '--pool', feed.pool.id], env)).toMatchObject({ code: 0 });
  const other = await cliHere(['sync', '--pool', 'eu-west-1_Other'], env);
  expect(other).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(`none of the pools in the settings: ${feed.pool.id}`),
  });
  const poller = await cliHere(['poller'], { ...env, DATABASE_URL: undefined });
  expect(poller).toMatchObject({ code: 2, stderr: expect.stringContaining('for commands that have DATABASE_URL') });
});
