/**
 * What a Postgres URL asks of TLS, with libpq's meaning. node-postgres reads the same words otherwise (in pg 8 `require` verifies, and
 * other words silently mean "no TLS"), so its own reading is not used.
 * Source: https://www.postgresql.org/docs/current/libpq-ssl.html and libpq-connect.html#LIBPQ-CONNECT-SSLMODE
 */
import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { UserFacingError } from './errors.ts';

/** `opportunistic`: TLS where the server offers it, else plain text; unverified, as libpq's `prefer`. */
export interface PostgresTls {
  readonly ssl: false | ConnectionOptions;
  readonly opportunistic: boolean;
}

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
type Mode = (typeof MODES)[number] | 'no-verify';

/** The parameters that are read here; the others are node-postgres' business. */
export const TLS_PARAMETERS = [
  'sslmode',
  'ssl',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'sslpassword',
  'sslcrl',
  'ssl_min_protocol_version',
  'uselibpqcompat',
] as const;

/**
 * | sslmode | here |
 * | --- | --- |
 * | absent, `prefer`, `allow` | TLS where the server offers it, unverified. (libpq's `allow` tries plain text first: this is never weaker.) A local socket has none |
 * | `disable` | plain text |
 * | `require` | TLS, unverified; with `sslrootcert` as `verify-ca`, as in libpq |
 * | `no-verify` | TLS, unverified whatever else is given: node-postgres' own word |
 * | `verify-ca` | the server's chain must end in `sslrootcert`, which must be given |
 * | `verify-full` | the host's name too. Without `sslrootcert`: Node's own list of CAs and NODE_EXTRA_CA_CERTS, as libpq's `sslrootcert=system` |
 *
 * `sslrootcert=system` alone means `verify-full`, and no weaker mode is allowed beside it, as in libpq.
 * @param parameters the URL's query
 * @throws UserFacingError for another sslmode, a file that can't be read, a mode that lacks what it needs
 */
export function tlsOf(parameters: URLSearchParams): PostgresTls {
  const rootCert = parameters.get('sslrootcert') || null;
  const mode = modeOf(parameters, rootCert);
  if (mode === 'disable') return { ssl: false, opportunistic: false };
  const client: ConnectionOptions = {};
  const cert = parameters.get('sslcert');
  const key = parameters.get('sslkey');
  if (cert) client.cert = read(cert, 'sslcert');
  if (key) client.key = read(key, 'sslkey');
  const passphrase = parameters.get('sslpassword');
  if (passphrase) client.passphrase = passphrase;
  const crl = parameters.get('sslcrl');
  if (crl) client.crl = read(crl, 'sslcrl');
  const oldest = parameters.get('ssl_min_protocol_version');
  if (oldest) client.minVersion = protocolOf(oldest);
  if (rootCert !== null && rootCert !== 'system') client.ca = read(rootCert, 'sslrootcert');

  switch (mode) {
    case 'allow':
    case 'prefer':
      return { ssl: { ...client, rejectUnauthorized: false }, opportunistic: true };
    case 'no-verify':
      return { ssl: { ...client, rejectUnauthorized: false }, opportunistic: false };
    case 'require':
      if (client.ca === undefined) return { ssl: { ...client, rejectUnauthorized: false }, opportunistic: false };
      return { ssl: { ...client, rejectUnauthorized: true, checkServerIdentity: anyHost }, opportunistic: false };
    case 'verify-ca':
      if (client.ca === undefined) {
        throw new UserFacingError(
          'DATABASE_URL: sslmode=verify-ca needs sslrootcert, the file of the CA (or use sslmode=verify-full)',
        );
      }
      return { ssl: { ...client, rejectUnauthorized: true, checkServerIdentity: anyHost }, opportunistic: false };
    case 'verify-full':
      return { ssl: { ...client, rejectUnauthorized: true }, opportunistic: false };
  }
}

/** What `verify-ca` does with the host's name: nothing. */
const anyHost = (): undefined => undefined;

function modeOf(parameters: URLSearchParams, rootCert: string | null): Mode {
  const given = parameters.getAll('sslmode');
  // libpq takes the JDBC driver's ssl=true as sslmode=require.
  const jdbc = parameters.get('ssl');
  if (given.length === 0 && jdbc !== null) {
    if (jdbc !== 'true')
      throw new UserFacingError(`DATABASE_URL: ssl=${jdbc} is not known; say sslmode=${MODES.join(', ')}`);
    given.push('require');
  }
  const word = given.at(-1) ?? (rootCert === 'system' ? 'verify-full' : 'prefer');
  const mode = word === 'no-verify' ? word : MODES.find((known) => known === word);
  if (mode === undefined) {
    throw new UserFacingError(`DATABASE_URL: sslmode=${word} is not known; it is one of ${MODES.join(', ')}`);
  }
  if (rootCert === 'system' && mode !== 'verify-full') {
    throw new UserFacingError(`DATABASE_URL: sslrootcert=system needs sslmode=verify-full, not ${mode}`);
  }
  return mode;
}

function protocolOf(word: string): 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3' {
  if (word === 'TLSv1' || word === 'TLSv1.1' || word === 'TLSv1.2' || word === 'TLSv1.3') return word;
  throw new UserFacingError(`DATABASE_URL: ssl_min_protocol_version=${word} is not known`);
}

function read(path: string, parameter: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new UserFacingError(`DATABASE_URL: ${parameter}: ${path} can't be read (${code})`);
  }
}
