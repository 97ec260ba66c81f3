/**
 * The seven columns twice: as a pool's records ask for them, and as the mirror holds them. Written by hand from CONTRACT and DESIGN ("The row"),
 * apart from the code that it judges.
 */
import type pg from 'pg';
import { expect } from 'vitest';
import type { Pool } from './emulator/pool.ts';

export interface ComparableRow {
  readonly username: string;
  readonly email: string | null;
  readonly status: string | null;
  readonly enabled: boolean | null;
  /** `YYYY-MM-DD HH:MM:SS.ffffff`, UTC. */
  readonly created_at: string | null;
  readonly updated_at: string | null;
  readonly attributes: unknown;
}

interface WireUser {
  readonly Username: string;
  readonly Attributes: readonly { readonly Name: string; readonly Value?: string }[];
  readonly UserCreateDate: number;
  readonly UserLastModifiedDate: number;
  readonly Enabled: boolean;
  readonly UserStatus: string;
}

/** U+0000, and surrogates without their other half. */
const UNSTORABLE = /\p{Cs}|\0/gu;
const stored = (text: string): string => text.replace(UNSTORABLE, '\ufffd');

function timestamp(epochSeconds: number): string {
  const iso = new Date(Math.round(epochSeconds * 1000)).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}000`;
}

/** @param record as ListUsers spells a user */
export function rowOfRecord(record: string): ComparableRow {
  const user = JSON.parse(record) as WireUser;
  const attributes = user.Attributes.map(({ Name, Value }) => ({
    [stored(Name)]: Value === undefined ? null : stored(Value),
  }));
  const email = user.Attributes.findLast(({ Name }) => Name === 'email')?.Value;
  return {
    username: stored(user.Username),
    email: email === undefined ? null : stored(email),
    status: user.UserStatus,
    enabled: user.Enabled,
    created_at: timestamp(user.UserCreateDate),
    updated_at: timestamp(user.UserLastModifiedDate),
    attributes,
  };
}

/** What the mirror of this pool must hold now. */
export const poolRows = (pool: Pool): ComparableRow[] => Array.from(pool.records(), rowOfRecord);

export async function mirrorRows(postgres: pg.Pool, table = 'cognito.users'): Promise<ComparableRow[]> {
  const { rows } = await postgres.query<ComparableRow>(
    `select username, email, status, enabled, to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US') as created_at,
       to_char(updated_at, 'YYYY-MM-DD HH24:MI:SS.US') as updated_at, attributes from ${table}`,
  );
  return rows;
}

export interface ComparisonOptions {
  /** The mirror keeps the order that it saw first. */
  readonly anyAttributeOrder?: boolean;
}

/** Row by row; says which differ. */
export function expectEqualRows(
  actual: readonly ComparableRow[],
  wanted: readonly ComparableRow[],
  { anyAttributeOrder = false }: ComparisonOptions = {},
): void {
  const text = (row: ComparableRow) => {
    const { username, email, status, enabled, created_at, updated_at, attributes } = row;
    const given = (attributes as object[] | null)?.map((attribute) => JSON.stringify(attribute));
    const compared = anyAttributeOrder ? given?.toSorted() : given;
    return JSON.stringify([username, email, status, enabled, created_at, updated_at, compared]);
  };
  const byName = (rows: readonly ComparableRow[]) => new Map(rows.map((row) => [row.username, text(row)]));
  const [is, should] = [byName(actual), byName(wanted)];
  const names = (from: ReadonlyMap<string, string>, without: ReadonlyMap<string, string>) =>
    [...from.keys()].filter((name) => !without.has(name)).slice(0, 10);
  expect({ missing: names(should, is), unexpected: names(is, should) }).toEqual({ missing: [], unexpected: [] });
  const different = [...should].filter(([name, row]) => is.get(name) !== row).slice(0, 5);
  expect(different.map(([name]) => is.get(name))).toEqual(different.map(([, row]) => row));
  expect(actual.length).toBe(wanted.length);
}
