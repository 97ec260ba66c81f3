/** What of a URL's TLS is refused before anything connects, and that no message holds the password. */
import { expect, test } from 'vitest';
import { UserFacingError } from '../shared/errors.ts';
import { connectPostgres } from '../shared/postgres.ts';
import { tlsOf } from '../shared/postgres-tls.ts';

const refused = (query: string) => {
  try {
    connectPostgres({ url: `postgres://user:pass%40word@host/db?${query}`, applicationName: 'test' });
  } catch (error) {
    expect(error).toBeInstanceOf(UserFacingError);
    expect((error as Error).message).not.toContain('word@');
    expect((error as Error).message).not.toContain('pass%40word');
    return (error as Error).message;
  }
  return 'taken';
};

test.each([
  [
    'sslmode=verify_full',
    'DATABASE_URL: sslmode=verify_full is not known; it is one of disable, allow, prefer, require, verify-ca, verify-full',
  ],
  [
    'sslmode=',
    'DATABASE_URL: sslmode= is not known; it is one of disable, allow, prefer, require, verify-ca, verify-full',
  ],
  [
    'ssl=maybe',
    'DATABASE_URL: ssl=maybe is not known; say sslmode=disable, allow, prefer, require, verify-ca, verify-full',
  ],
  [
    'sslmode=verify-ca',
    'DATABASE_URL: sslmode=verify-ca needs sslrootcert, the file of the CA (or use sslmode=verify-full)',
  ],
  ['sslmode=require&sslrootcert=system', 'DATABASE_URL: sslrootcert=system needs sslmode=verify-full, not require'],
  ['sslmode=verify-full&sslrootcert=/no/such.pem', "DATABASE_URL: sslrootcert: /no/such.pem can't be read (ENOENT)"],
  ['sslmode=require&sslcert=/no/such.pem', "DATABASE_URL: sslcert: /no/such.pem can't be read (ENOENT)"],
  ['sslmode=require&ssl_min_protocol_version=SSLv3', 'DATABASE_URL: ssl_min_protocol_version=SSLv3 is not known'],
  ['sslnegotiation=direct', 'DATABASE_URL: sslnegotiation=direct needs sslmode=require, verify-ca or verify-full'],
  ['sslmode=require', 'taken'],
])('?%s: %s', (query, message) => {
  expect(refused(query)).toBe(message);
});

test('what a weaker word later in the URL says, counts as in libpq: the last one; never a default', () => {
  expect(tlsOf(new URLSearchParams('sslmode=disable&sslmode=verify-full')).ssl).toMatchObject({
    rejectUnauthorized: true,
  });
});

test.each(['mysql://host/db', 'host=/tmp dbname=x', 'postgres://a:secret@h1:5432,h2:5432/db'])(
  '%s is no URL of one server',
  (url) => {
    expect(() => connectPostgres({ url, applicationName: 'test' })).toThrow(/^DATABASE_URL (must begin|is not a URL)/);
  },
);

test('DATABASE_AUTH=rds-iam is refused until it is there', () => {
  expect(() => connectPostgres({ url: 'postgres://host/db', auth: 'rds-iam', applicationName: 'test' })).toThrow(
    'not supported yet',
  );
});
