import { hash } from 'node:crypto';
import type { Row } from './user.ts';

/** Eight bytes as sixteen hex digits. */
export type Fingerprint = string & { readonly unit: 'fingerprint' };

export const FINGERPRINT_BYTES = 8;

/**
 * What tells one state of a user from another: SHA-256 over all seven columns, cut to eight bytes. It is the same in whatever
 * order Cognito gave the attributes, and the same whether the row came from Cognito or from the mirror.
 *
 * The timeline, which is random and which no user of the pool is told, goes in first: somebody who controls his own attributes
 * can't look for two values with one fingerprint, short as it is. Values hold no U+0000 (`storable`), so it can part them.
 */
export function fingerprintOf(row: Row, timeline: string): Fingerprint {
  let text = `${timeline}\0${row.username}\0${field(row.email)}${field(row.status)}${row.enabled}\0${row.createdAt}\0${row.updatedAt}\0`;
  const attributes = row.attributes.length > 1 ? [...row.attributes].sort(byName) : row.attributes;
  for (const [name, value] of attributes) text += `${name}\0${field(value)}`;
  return hash('sha256', text, 'hex').slice(0, FINGERPRINT_BYTES * 2) as Fingerprint;
}

const field = (value: string | null): string => (value === null ? 'n\0' : `s${value}\0`);

const byName = (a: readonly [string, string | null], b: readonly [string, string | null]): number =>
  a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
