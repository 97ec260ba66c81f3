/** sslmode as libpq means it, against a real server with TLS and one without. */
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { classify } from '../shared/errors.ts';
import { closePostgres, connectPostgres } from '../shared/postgres.ts';
import { type Certificate, createAuthority, issue } from './certificate.ts';
import { thrownBy } from './fresh-database.ts';
import { type PostgresServer, startPostgres } from './servers/postgres.ts';
import { serverUser } from './servers/postgres-binaries.ts';

let folder = '';
let server: PostgresServer;
const path = (name: string) => join(folder, name);
const authority = createAuthority('the right one');
const files = {
  right: authority.cert,
  wrong: createAuthority('another').cert,
  // The same name and another key: only the signature tells.
  impostor: createAuthority('the right one').cert,
  both: createAuthority('another').cert + authority.cert,
};

async function present({ cert, key }: Certificate): Promise<void> {
  const user = serverUser();
  for (const [name, text] of [
    ['server.crt', cert],
    ['server.key', key],
  ] as const) {
    await writeFile(path(name), text, { mode: 0o600 });
    if (user !== undefined) await chown(path(name), user.uid, user.gid);
  }
}

/** Whether the session is encrypted; the kind of error where there is none. */
async function connectBy(query: string, host = '127.0.0.1', url = server.url()): Promise<unknown> {
  const pool = connectPostgres({
    url: `${url.replace('127.0.0.1', host)}${query === '' ? '' : `?${query}`}`,
    applicationName: 'test',
    max: 1,
  });
  try {
    const asked = pool.query<{ ssl: boolean }>('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
    const error = await thrownBy(asked);
    if (error !== undefined) return classify(error).kind;
    return (await asked).rows[0]?.ssl;
  } finally {
    await closePostgres(pool);
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cognito-feed-tls-'));
  const user = serverUser();
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  for (const [name, text] of Object.entries(files)) await writeFile(path(name), text);
  await present(issue(authority, 'localhost'));
  server = await startPostgres({
    settings: { ssl: 'on', ssl_cert_file: path('server.crt'), ssl_key_file: path('server.key') },
  });
});
afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

describe('a server whose certificate, for localhost, is signed by the right CA', () => {
  test.each([
    ['', '127.0.0.1', true],
    ['sslmode=disable', '127.0.0.1', false],
    ['sslmode=allow', '127.0.0.1', true],
    ['sslmode=prefer', '127.0.0.1', true],
    ['sslmode=require', '127.0.0.1', true],
    ['ssl=true', '127.0.0.1', true],
    ['sslmode=no-verify&sslrootcert=WRONG', '127.0.0.1', true],
    ['sslmode=require&channel_binding=require', '127.0.0.1', true],
    ['sslmode=require&sslnegotiation=direct', '127.0.0.1', true],
    ['sslmode=require&uselibpqcompat=true', '127.0.0.1', true],
    ['sslmode=require&ssl_min_protocol_version=TLSv1.3', '127.0.0.1', true],
    ['sslmode=require&sslrootcert=RIGHT', '127.0.0.1', true],
    ['sslmode=require&sslrootcert=WRONG', '127.0.0.1', 'tls-untrusted'],
    ['sslmode=verify-ca&sslrootcert=RIGHT', '127.0.0.1', true],
    ['sslmode=verify-ca&sslrootcert=BOTH', '127.0.0.1', true],
    ['sslmode=verify-ca&sslrootcert=WRONG', '127.0.0.1', 'tls-untrusted'],
    ['sslmode=verify-ca&sslrootcert=IMPOSTOR', '127.0.0.1', 'tls-untrusted'],
    ['sslmode=verify-full&sslrootcert=RIGHT', 'localhost', true],
    ['sslmode=verify-full&sslrootcert=RIGHT&sslnegotiation=direct', 'localhost', true],
    ['sslmode=verify-full&sslrootcert=RIGHT', '127.0.0.1', 'tls-host'],
    ['sslmode=verify-full&sslrootcert=WRONG', 'localhost', 'tls-untrusted'],
    ['sslmode=verify-full&sslrootcert=IMPOSTOR', 'localhost', 'tls-untrusted'],
    ['sslmode=verify-full', 'localhost', 'tls-untrusted'],
    ['sslrootcert=system', 'localhost', 'tls-untrusted'],
  ] as const)('?%s at %s: %s', async (query, host, expected) => {
    expect(
      await connectBy(
        query.replace(/RIGHT|WRONG|BOTH|IMPOSTOR/, (name) => path(name.toLowerCase())),
        host,
      ),
    ).toBe(expected);
  });
});

test('an expired certificate is refused by whoever verifies', async () => {
  await present(issue(authority, 'localhost', [-20, -1]));
  await server.restart();
  expect(await connectBy('sslmode=require', 'localhost')).toBe(true);
  expect(await connectBy(`sslmode=verify-ca&sslrootcert=${path('right')}`, 'localhost')).toBe('tls-date');
  expect(await connectBy(`sslmode=verify-full&sslrootcert=${path('right')}`, 'localhost')).toBe('tls-date');
});

test('an address may stand in a certificate', async () => {
  await present(issue(authority, '127.0.0.1'));
  await server.restart();
  expect(await connectBy(`sslmode=verify-full&sslrootcert=${path('right')}`)).toBe(true);
  expect(await connectBy(`sslmode=verify-full&sslrootcert=${path('right')}`, 'localhost')).toBe('tls-host');
});

test.each(['postgres15', 'postgres18'] as const)(
  '%s without TLS: plain text only where that was allowed',
  async (name) => {
    const url = inject(name);
    for (const query of ['', 'sslmode=disable', 'sslmode=allow', 'sslmode=prefer'])
      expect([query, await connectBy(query, '127.0.0.1', url)]).toEqual([query, false]);
    for (const query of [
      'sslmode=require',
      'sslmode=no-verify',
      `sslmode=verify-ca&sslrootcert=${path('right')}`,
      'sslmode=verify-full',
    ]) {
      expect([query, await connectBy(query, '127.0.0.1', url)]).toEqual([query, 'postgres-no-tls']);
    }
  },
);
