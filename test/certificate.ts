/**
 * X.509 certificates made on the spot (RFC 5280, DER), so that tests of TLS need no openssl and no certificate that runs out in the repository.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

export interface Authority extends Certificate {
  readonly name: string;
  readonly privateKey: KeyObject;
}

export function createAuthority(name: string): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const cert = certificate({
    subject: name,
    issuer: name,
    publicKey,
    signer: privateKey,
    days: [-1, 30],
    extensions: [CA],
  });
  return { name, cert, key: pemOf(privateKey), privateKey };
}

/**
 * @param host a name or an address: its only subjectAltName
 * @param days from now, when it begins and ends to be valid
 */
export function issue(authority: Authority, host: string, days: readonly [number, number] = [-1, 30]): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { name: issuer, privateKey: signer } = authority;
  return {
    cert: certificate({ subject: host, issuer, publicKey, signer, days, extensions: [altName(host)] }),
    key: pemOf(privateKey),
  };
}

interface Parts {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly days: readonly [number, number];
  readonly extensions: readonly Buffer[];
}

function certificate({ subject, issuer, publicKey, signer, days, extensions }: Parts): string {
  const signed = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_SHA256,
    named(issuer),
    sequence(...days.map(time)),
    named(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensions)),
  );
  const der = sequence(signed, ECDSA_SHA256, bits(sign('sha256', signed, signer)));
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{1,64}/g, '$&\n')}-----END CERTIFICATE-----\n`;
}

const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

function tagged(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
const sequence = (...contents: readonly Buffer[]): Buffer => tagged(0x30, ...contents);
const integer = (bytes: Buffer): Buffer => tagged(0x02, bytes);
const octets = (content: Buffer): Buffer => tagged(0x04, content);
const bits = (content: Buffer): Buffer => tagged(0x03, Buffer.from([0]), content);
const objectId = (hex: string): Buffer => tagged(0x06, Buffer.from(hex, 'hex'));

const ECDSA_SHA256 = sequence(objectId('2a8648ce3d040302'));
/** A distinguished name of one part, the common name. */
const named = (name: string): Buffer =>
  sequence(tagged(0x31, sequence(objectId('550403'), tagged(0x0c, Buffer.from(name)))));
/** basicConstraints, critical: it is a CA. */
const CA = sequence(
  objectId('551d13'),
  tagged(0x01, Buffer.from([0xff])),
  octets(sequence(tagged(0x01, Buffer.from([0xff])))),
);

function altName(host: string): Buffer {
  const entry =
    isIP(host) === 4 ? tagged(0x87, Buffer.from(host.split('.').map(Number))) : tagged(0x82, Buffer.from(host));
  return sequence(objectId('551d11'), octets(sequence(entry)));
}

/** UTCTime, to the second. */
function time(daysFromNow: number): Buffer {
  const text = new Date(Date.now() + daysFromNow * 86_400_000).toISOString();
  return tagged(0x17, Buffer.from(`${text.slice(2, 19).replace(/\D/g, '')}Z`));
}
