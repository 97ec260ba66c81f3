/**
 * Is the mirror what the pool truly is? Written apart from the code that fills the mirror, from the row's description alone, so that neither
 * can hide the other's mistake. Reads the table in slices, so a large pool is compared too.
 */
import type pg from 'pg';
import type { CognitoUser } from '../../../shared/user.ts';
import type { Pool } from '../../../test/emulator/pool.ts';

export interface Comparison {
  /** In the pool. */
  readonly users: number;
  readonly missing: number;
  readonly ghosts: number;
  readonly different: number;
  /** Some usernames of those. */
  readonly examples: readonly string[];
}

/** A mirror's row as `to_jsonb` gives it. */
export interface JsonRow {
  readonly username: string;
  readonly email: string | null;
  readonly status: string | null;
  readonly enabled: boolean | null;
  readonly created_at: string | null;
  readonly updated_at: string | null;
  readonly attributes: readonly Readonly<Record<string, string | null>>[] | null;
}

const SLICE_ROWS = 5_000;
const MOST_EXAMPLES = 5;

export async function compare(pool: Pool, postgres: pg.Pool): Promise<Comparison> {
  const counts = { missing: 0, ghosts: 0, different: 0 };
  const examples: string[] = [];
  const note = (kind: keyof typeof counts, username: string) => {
    counts[kind]++;
    if (examples.length < MOST_EXAMPLES) examples.push(username);
  };
  const mirrored = new Set<string>();
  for await (const row of rows(postgres)) {
    mirrored.add(row.username);
    const user = pool.get(row.username);
    if (user === undefined) note('ghosts', row.username);
    else if (wordOfUser(user) !== wordOfRow(row)) note('different', row.username);
  }
  for (const { Username = '' } of pool.users()) if (!mirrored.has(Username)) note('missing', Username);
  return { users: pool.size, ...counts, examples };
}

export const isEqual = ({ missing, ghosts, different }: Comparison): boolean => missing + ghosts + different === 0;

async function* rows(postgres: pg.Pool): AsyncGenerator<JsonRow> {
  for (let after = ''; ; ) {
    const slice = await postgres.query<{ row: JsonRow }>(
      `select to_jsonb(u) as row from cognito.users u where username collate "C" > $1 order by username collate "C" limit $2`,
      [after, SLICE_ROWS],
    );
    for (const { row } of slice.rows) yield row;
    const last = slice.rows.at(-1);
    if (last === undefined || slice.rows.length < SLICE_ROWS) return;
    after = last.row.username;
  }
}

/** All that a user is, as one text; the order of attributes is not part of it. */
export function wordOfUser(user: CognitoUser): string {
  const attributes = (user.Attributes ?? []).map(({ Name = '', Value = null }) => [Name, Value]);
  return word(
    user.Username ?? '',
    (user.Attributes ?? []).find(({ Name }) => Name === 'email')?.Value ?? null,
    user.UserStatus ?? null,
    user.Enabled ?? null,
    [user.UserCreateDate?.getTime() ?? null, user.UserLastModifiedDate?.getTime() ?? null],
    attributes,
  );
}

export function wordOfRow(row: JsonRow): string {
  const millis = (timestamp: string | null) => (timestamp === null ? null : Date.parse(`${timestamp}Z`));
  return word(
    row.username,
    row.email,
    row.status,
    row.enabled,
    [millis(row.created_at), millis(row.updated_at)],
    (row.attributes ?? []).flatMap((attribute) => Object.entries(attribute)),
  );
}

function word(
  username: string,
  email: string | null,
  status: string | null,
  enabled: boolean | null,
  dates: readonly (number | null)[],
  attributes: readonly (readonly (string | null)[])[],
): string {
  const sorted = attributes.map((attribute) => JSON.stringify(attribute)).sort();
  return JSON.stringify([username, email, status, enabled, dates, sorted]);
}
