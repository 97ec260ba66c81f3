/**
 * Users whose every value is allowed, or was once seen, and breaks something somewhere: COPY's text format, JSON, collations, SQL,
 * UUID parsers, fixed sizes.
 */
import type { NewUser } from './pool.ts';
import type { Attribute } from './pool-user.ts';
import { Random } from './random.ts';

/** Cognito's limit for one value. */
const MAX_VALUE_BYTES = 2048;

export interface HostileOptions {
  /**
   * Whether some usernames hold U+0000 or a lone surrogate, which Postgres can't store and Cognito's own pattern forbids.
   * Default false.
   */
  readonly unstorableUsernames?: boolean;
}

/** Each of these is the whole of some value, and a part of others. */
const TEXTS: readonly string[] = [
  '',
  ' ',
  '\t',
  '\n',
  '\r',
  '\r\n',
  '\v\f\b\u0007\u001b',
  '\\',
  '\\\\',
  '\\.',
  '\n\\.\n',
  '\\N',
  '\\x41\\101\\u0041',
  '"',
  "'",
  '"quoted", \'quoted\', $$quoted$$, `quoted`',
  '{}',
  '[null]',
  '{"a":"\\u0000"}',
  'null',
  'NULL',
  'true',
  '0',
  '-0',
  '1e999',
  'infinity',
  "'); drop table cognito.users; --",
  '%s %n %(x)s {{7*7}} <script>alert(1)</script>',
  '\u0000',
  'a\u0000b',
  '\ud800',
  '\udfff',
  'a\ud83d',
  '\ude00b',
  '\udc00\ud800',
  '\ud83d\ud83d\ude00',
  '\ufeffbom',
  '\ufffd',
  '\ufffe\uffff',
  '\u2028\u2029\u0085',
  '\u202eright to left\u202c',
  '\u200b\u200d\u00ad',
  'e\u0301 is not \u00e9',
  'İıßẞſKÅ',
  '👩‍👩‍👧‍👦🏳️‍🌈🇪🇺',
  '𒐫﷽',
  'Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞',
  'x'.repeat(MAX_VALUE_BYTES),
  '😀'.repeat(MAX_VALUE_BYTES / 4),
  '\\'.repeat(MAX_VALUE_BYTES),
  '"'.repeat(MAX_VALUE_BYTES),
  '\u0000'.repeat(MAX_VALUE_BYTES),
];

/** A number is added to each: usernames are unique. */
const USERNAMES: readonly string[] = [
  "Google_1'; drop table",
  'Google_105512345678901234567',
  'SignInWithApple_001234.abcdef',
  'user@example.com',
  'User@Example.com',
  'e\u0301\u00e9',
  '\u00e9e\u0301',
  '\\N',
  '\\.',
  '\\',
  '"',
  "'",
  'tab\tand\nnewline\rand\\backslash',
  ' leading and trailing ',
  '👩‍👩‍👧‍👦',
  '\u202eresu',
  'null',
  '?d488e438-b0d1-7011-bc2c-604a199fcdd5',
  'D488E438-B0D1-7011-BC2C-604A199FCDD5',
  '{"Username":"x"}',
  '00',
  '-1',
  'a%_b*?[c]',
  'x'.repeat(120),
  '😀'.repeat(55),
];

const UNSTORABLE_USERNAMES: readonly string[] = ['nul\u0000', 'lone\ud800', '\udc00lone'];

const STATUSES: readonly string[] = [
  'CONFIRMED',
  'UNCONFIRMED',
  'EXTERNAL_PROVIDER',
  'RESET_REQUIRED',
  'FORCE_CHANGE_PASSWORD',
  'ARCHIVED',
  'COMPROMISED',
  'UNKNOWN',
];

/** The edges of what the wire's fraction of a second and a timestamp's microseconds must not lose. Milliseconds since the epoch. */
const DATES: readonly number[] = [
  1, 999, 1_000, 946_684_799_999, 1_234_567_890_123, 1_700_000_000_000, 1_700_000_000_001, 1_709_251_199_999,
  2_147_483_648_001,
];

/** Standard and custom attribute names, 59 besides sub. */
const NAMES: readonly string[] = [
  'email',
  'name',
  'given_name',
  'family_name',
  'nickname',
  'address',
  'picture',
  'profile',
  'custom:"quoted"',
  'custom:back\\slash',
  'custom:größe',
  'custom:😀',
  ...Array.from({ length: 47 }, (_, i) => `custom:attribute_${i}`),
];

/** `count` users, the same for the same seed, with usernames that are unique among them. They go to `Pool.create` or `Pool.load`. */
export function* hostileUsers(count: number, seed: number | string, options: HostileOptions = {}): Generator<NewUser> {
  const random = new Random(`${seed}/hostile`);
  const usernames = options.unstorableUsernames === true ? [...USERNAMES, ...UNSTORABLE_USERNAMES] : USERNAMES;
  for (let i = 0; i < count; i++) {
    const createdAt = DATES[i % DATES.length] as number;
    yield {
      username: `${usernames[i % usernames.length]}${i}`,
      attributes: attributesOf(i, random),
      status: STATUSES[i % STATUSES.length],
      enabled: i % 3 !== 0,
      createdAt,
      modifiedAt: createdAt + random.int(1_000_000),
    };
  }
}

function attributesOf(i: number, random: Random): Attribute[] {
  // Every eleventh user has all 60 (sub is the 60th), every seventh but one.
  const many = i % 11 === 0 ? NAMES.length : i % 7 === 0 ? 1 : 2 + random.int(8);
  const names = i % 5 === 0 ? NAMES.slice(1) : NAMES;
  const attributes = names.slice(0, many).map((name, n): Attribute => [name, hostileValue(i + n, random)]);
  if (i % 4 === 0) attributes.push(['identities', identitiesOf(i, random)]);
  if (i % 9 === 0) attributes.push(['custom:no_value', null]);
  return i % 2 === 0 ? random.shuffled(attributes) : attributes;
}

/** One in two: a text of the list, in turn. Else: random characters of one plane, or texts strung together. */
function hostileValue(n: number, random: Random): string {
  switch (n % 4) {
    case 0:
      return ofPlane(random.int(17), random);
    case 1:
      return clipped(
        [random.pick(TEXTS), random.pick(TEXTS), ofPlane(random.int(17), random), random.pick(TEXTS)].join(''),
      );
    default:
      return TEXTS[(2 * (n >> 2) + (n & 1)) % TEXTS.length] as string;
  }
}

/** Code points of one Unicode plane, assigned or not; in plane 0 surrogates too. */
function ofPlane(plane: number, random: Random): string {
  const points = Array.from({ length: 1 + random.int(20) }, () => plane * 0x10000 + random.int(0x10000));
  return String.fromCodePoint(...points);
}

function identitiesOf(i: number, random: Random): string {
  const identity = {
    userId: String(i),
    providerName: `O'Brien "SAML" \\ ${ofPlane(1, random)}`,
    providerType: 'SAML',
    issuer: 'urn:x\n\t\u0000',
    primary: true,
    dateCreated: 1_700_000_000_000 + i,
  };
  return clipped(JSON.stringify([identity]));
}

/** Cut to the bytes that Cognito takes. A lone surrogate counts three, as U+FFFD would. */
function clipped(text: string): string {
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > MAX_VALUE_BYTES) break;
    end += character.length;
  }
  return text.slice(0, end);
}
