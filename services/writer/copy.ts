/**
 * COPY's text format for the staging table. Pure; PostgreSQL's documentation of COPY, "Text Format", is the source of the escapes.
 */
import type { Row } from '../../shared/user.ts';

const SPECIAL = /[\\\n\r\t]/g;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

const escaped = (text: string): string => (SPECIAL.test(text) ? text.replace(SPECIAL, (c) => ESCAPES[c] ?? c) : text);
const field = (value: string | null): string => (value === null ? '\\N' : escaped(value));

/** Milliseconds since the epoch as a `timestamp` in UTC; 23 characters for the years 0 to 9999. */
const timestamp = (ms: number | null): string => (ms === null ? '\\N' : new Date(ms).toISOString().slice(0, -1));

/** The attributes as the foreign table gives them: an array of one-key objects, in the order Cognito gave them. */
export function attributesJson(attributes: Row['attributes']): string {
  let json = '[';
  for (const [name, value] of attributes) {
    json += `${json.length > 1 ? ', ' : ''}{${JSON.stringify(name)}: ${JSON.stringify(value)}}`;
  }
  return `${json}]`;
}

/** One line: n, username, and the other six columns. */
export function copyRow(n: number, row: Row): string {
  const enabled = row.enabled === null ? '\\N' : row.enabled ? 't' : 'f';
  return `${n}\t${escaped(row.username)}\t${field(row.email)}\t${field(row.status)}\t${enabled}\t${timestamp(row.createdAt)}\t${timestamp(row.updatedAt)}\t${escaped(attributesJson(row.attributes))}\n`;
}

/** A line that has only a username: what the mirror holds under it is wanted. */
export const copyUsername = (n: number, username: string): string =>
  `${n}\t${escaped(username)}\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\n`;

/** COPY is fed in pieces of this size: one write a row would keep the event loop busy for the whole COPY. */
export const CHUNK_BYTES = 64 * 1024;

/** Lines joined to chunks of about CHUNK_BYTES (counted in characters). */
export function* chunks(lines: Iterable<string>): Generator<string> {
  let chunk = '';
  for (const line of lines) {
    chunk += line;
    if (chunk.length >= CHUNK_BYTES) {
      yield chunk;
      chunk = '';
    }
  }
  if (chunk !== '') yield chunk;
}
