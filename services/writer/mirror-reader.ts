/**
 * The mirror read as one instant shows it, some thousands of rows at a time, by a cursor: memory stays bounded, each fetch has its own time-out, and
 * a reader that is slow holds nothing but its own snapshot.
 */
import type pg from 'pg';
import type { Row } from '../../shared/user.ts';
import { standInSub } from '../../shared/user.ts';

export const FETCH_ROWS = 2_000;

type Json = readonly [
  username: string,
  email: string | null,
  status: string | null,
  enabled: boolean | null,
  createdAt: number | string | null,
  updatedAt: number | string | null,
  attributes: unknown,
  sub: string | null,
];

const millis = (column: string) => `extract(epoch from ${column}) * 1000`;

const ROWS = `select json_build_array(username, email, status, enabled, ${millis('created_at')}, ${millis('updated_at')}, attributes,
  cognito_feed.sub_of(attributes))::text as line from`;

/** Call it inside a transaction. */
export async function* mirrorRows(client: pg.ClientBase, mirror: string): AsyncGenerator<{ row: Row; sub: string }[]> {
  for await (const rows of fetched<{ line: string }>(client, 'cognito_feed_mirror', `${ROWS} ${mirror}`))
    yield rows.map(({ line }) => parseRow(line));
}

/** The mirror's rows of these usernames. */
export async function mirrorRowsOf(
  client: pg.ClientBase,
  mirror: string,
  usernames: readonly string[],
): Promise<{ row: Row; sub: string }[]> {
  const { rows } = await client.query<{ line: string }>(`${ROWS} ${mirror} where username = any($1)`, [usernames]);
  return rows.map(({ line }) => parseRow(line));
}

/** Call it inside a transaction. */
export async function* tombstones(
  client: pg.ClientBase,
  pool: string,
): AsyncGenerator<{ sub: string; deletedAt: number }[]> {
  const query = `select sub, (extract(epoch from deleted_at) * 1000)::float8 as "deletedAt" from cognito_feed.tombstones
    where pool = $1 and deleted_at > now() - interval '1 hour'`;
  yield* fetched<{ sub: string; deletedAt: number }>(client, 'cognito_feed_tombstones', query, [pool]);
}

async function* fetched<R extends pg.QueryResultRow>(
  client: pg.ClientBase,
  cursor: string,
  query: string,
  values: readonly unknown[] = [],
): AsyncGenerator<R[]> {
  await client.query(`declare ${cursor} no scroll cursor for ${query}`, [...values]);
  for (;;) {
    const { rows } = await client.query<R>(`fetch forward ${FETCH_ROWS} from ${cursor}`);
    if (rows.length > 0) yield rows;
    if (rows.length < FETCH_ROWS) break;
  }
  await client.query(`close ${cursor}`);
}

function parseRow(line: string): { row: Row; sub: string } {
  const [username, email, status, enabled, createdAt, updatedAt, attributes, sub] = JSON.parse(line) as Json;
  const row: Row = {
    username,
    email,
    status,
    enabled,
    // An infinity comes as text.
    createdAt: createdAt === null ? null : Number(createdAt),
    updatedAt: updatedAt === null ? null : Number(updatedAt),
    attributes: pairsOf(attributes),
  };
  return { row, sub: sub ?? standInSub(username) };
}

/** What a hand made of the attributes is kept as one pair that no Cognito record has: its fingerprint then equals no observation's. */
function pairsOf(attributes: unknown): [string, string | null][] {
  if (!Array.isArray(attributes)) return [['', JSON.stringify(attributes)]];
  const pairs: [string, string | null][] = [];
  for (const element of attributes) {
    const entries = typeof element === 'object' && element !== null ? Object.entries(element as object) : [];
    const [name, value] = entries[0] ?? [];
    if (entries.length !== 1 || name === undefined || !(value === null || typeof value === 'string')) {
      return [['', JSON.stringify(attributes)]];
    }
    pairs.push([name, value]);
  }
  return pairs;
}
