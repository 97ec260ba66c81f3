/**
 * What a setting's text may be, one schema for each kind of value. Pure. Messages say what is wrong and never repeat the text:
 * it may be a secret, and who reports the problem knows whether to show it.
 */
import { z } from 'zod';
import { parseDuration } from './duration.ts';

/** A name in Postgres, as the catalog holds it: unquoted, case folded. */
export interface TableName {
  readonly schema: string;
  readonly name: string;
}

/** Postgres silently cuts longer names (NAMEDATALEN - 1). */
const LONGEST_NAME_BYTES = 63;

/** A schema whose parser either gives a value or says what is wrong. */
function parsed<T>(parse: (text: string) => T | Wrong): z.ZodType<T, string> {
  return z.string().transform((text, context): T => {
    const result = parse(text);
    if (!(result instanceof Wrong)) return result;
    context.addIssue({ code: 'custom', message: result.what });
    return z.NEVER;
  });
}

class Wrong {
  readonly what: string;
  constructor(what: string) {
    this.what = what;
  }
}

export const text = z.string();

export const duration = parsed((text) => {
  return parseDuration(text) ?? new Wrong('no duration such as 500ms, 30s, 10m, 24h or 7d, from 100ms to 3650d');
});

const TRUE = new Set(['true', '1', 'yes', 'on']);
const FALSE = new Set(['false', '0', 'no', 'off']);
export const flag = parsed((text) => {
  const word = text.toLowerCase();
  return TRUE.has(word) ? true : FALSE.has(word) ? false : new Wrong('neither true nor false');
});

export function wholeNumber(least: number, most: number): z.ZodType<number, string> {
  return parsed((text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    return value >= least && value <= most ? value : new Wrong(`no whole number from ${least} to ${most}`);
  });
}

export function decimal(above: number, most: number, orEqual: boolean): z.ZodType<number, string> {
  return parsed((text) => {
    const value = /^\d{1,15}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
    if ((orEqual ? value >= above : value > above) && value <= most) return value;
    return new Wrong(`no number ${orEqual ? 'from' : 'above'} ${above} ${orEqual ? 'to' : 'and up to'} ${most}`);
  });
}

export function oneOf<const T extends string>(...words: readonly T[]): z.ZodType<T, string> {
  return parsed((text) => {
    return words.find((word) => word === text.toLowerCase()) ?? new Wrong(`none of ${words.join(', ')}`);
  });
}

export const commaList = parsed((text) => {
  const words = text.split(',').map((word) => word.trim());
  return [...new Set(words.filter((word) => word !== ''))];
});

export const httpUrl = parsed((text) => {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url !== null && /^https?:$/.test(url.protocol) ? text : new Wrong('no http or https URL');
});

const SSL_MODES = new Set(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify']);
/** Only what every form has (a socket's directory may stand for the host, several hosts too): the rest is the driver's to say. */
export const databaseUrl = parsed((text) => {
  if (!/^postgres(ql)?:\/\//.test(text)) return new Wrong('no URL that begins with postgres:// or postgresql://');
  const modes = new URLSearchParams(text.split('?')[1] ?? '').getAll('sslmode');
  if (modes.length > 1) return new Wrong('a URL with more than one sslmode');
  const [mode] = modes;
  if (mode !== undefined && !SSL_MODES.has(mode))
    return new Wrong(`a URL whose sslmode is none of ${[...SSL_MODES].join(', ')}`);
  return text;
});

const REDIS_FORMS =
  'redis://host:6379, rediss://host:6379, redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/name';
/** `rediss+cluster:` and `rediss+sentinel:` too. */
export const redisUrl = parsed((text) => {
  const match = /^rediss?(?:\+(cluster|sentinel))?:\/\/(?:[^@/]*@)?([^/?#]+)(?:\/([^?#]*))?(?:[?#].*)?$/.exec(text);
  if (match === null) return new Wrong(`no URL such as ${REDIS_FORMS}`);
  const [, form, hosts = '', path = ''] = match;
  const addresses = hosts.split(',');
  if (form === undefined && addresses.length > 1) return new Wrong('a URL of one server with several hosts');
  if (!addresses.every(isAddress))
    return new Wrong(`a URL whose hosts are not host:port; it is written as ${REDIS_FORMS}`);
  if (form === 'sentinel' && path.split('/')[0] === '')
    return new Wrong("a Sentinel URL without the master's name at its end");
  return text;
});

function isAddress(address: string): boolean {
  const match = /^(?:\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/i.exec(address);
  return match !== null && Number(match[1] ?? 1) >= 1 && Number(match[1] ?? 1) <= 65_535;
}

/** `schema.table`; a part in double quotes is taken as it is, another is folded to lower case, as Postgres does. */
export const tableName = parsed((text): TableName | Wrong => {
  const parts = text.match(/"(?:[^"]|"")*"|[^".]+|\./g) ?? [];
  const names = parts.filter((part) => part !== '.').map(identifier);
  const [schema, name] = names;
  if (parts.join('') !== text || parts.length !== names.length * 2 - 1 || names.length === 0) {
    return new Wrong('no schema.table, such as cognito.users or "My Schema"."Users"');
  }
  if (schema === undefined || name === undefined)
    return new Wrong('a table without its schema: it is written schema.table');
  if (names.length > 2) return new Wrong('more than schema.table: the database stands in DATABASE_URL');
  if (schema === null || name === null) {
    return new Wrong(`a name that needs double quotes, or one of more than ${LONGEST_NAME_BYTES} bytes`);
  }
  if (schema === 'cognito_feed') return new Wrong("in cognito_feed, the service's own schema");
  if (schema.startsWith('pg_') || schema === 'information_schema') return new Wrong("in one of Postgres's own schemas");
  return { schema, name };
});

function identifier(part: string): string | null {
  const quoted = part.startsWith('"');
  if (!quoted && !/^[a-z_\u0080-\uffff][\w$\u0080-\uffff]*$/i.test(part)) return null;
  const name = quoted
    ? part.slice(1, -1).replaceAll('""', '"')
    : part.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
  return fitsPostgresName(name) ? name : null;
}

const fitsPostgresName = (name: string): boolean =>
  name !== '' && !name.includes('\u0000') && Buffer.byteLength(name) <= LONGEST_NAME_BYTES;

/** Taken as it is, capitals included. */
export const postgresName = parsed((text) => {
  return fitsPostgresName(text) ? text : new Wrong(`no name of at most ${LONGEST_NAME_BYTES} bytes`);
});

export const eventSource = parsed((text) => {
  if (text.startsWith('aws.')) return new Wrong("a source that begins with aws., which is AWS's own");
  return text.length <= 256 ? text : new Wrong('longer than 256 characters');
});

/** Standard Webhooks: `whsec_` and base64. */
export const webhookSecret = parsed((text) => {
  const body = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text)?.[1];
  if (
    body === undefined ||
    Buffer.from(body, 'base64').toString('base64').replace(/=+$/, '') !== body.replace(/=+$/, '')
  ) {
    return new Wrong('no secret as Standard Webhooks writes it: whsec_ and then base64');
  }
  return text;
});

/** Standard Webhooks wants 24 to 64 random bytes. */
export const webhookSecretBytes = (secret: string): number =>
  Buffer.from(secret.slice('whsec_'.length), 'base64').length;
