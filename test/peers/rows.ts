/**
 * A user's seven columns as the peer lists them and as the mirror holds them, in one form that can be compared. Written apart from
 * the project's own mapping on purpose: it is what that mapping is checked against.
 */
import type { UserType } from '@aws-sdk/client-cognito-identity-provider';
import { Client } from 'pg';

export interface ComparableRow {
  readonly username: string;
  readonly email: string | null;
  readonly status: string | null;
  readonly enabled: boolean | null;
  /** ISO, UTC, to the millisecond. */
  readonly created_at: string | null;
  readonly updated_at: string | null;
  readonly attributes: readonly Record<string, string | null>[];
}

export function rowsOfUsers(users: readonly UserType[]): ComparableRow[] {
  return users.map(rowOfUser).sort(byUsername);
}

function rowOfUser(user: UserType): ComparableRow {
  const attributes = user.Attributes ?? [];
  return {
    username: user.Username ?? '',
    email: attributes.find(({ Name }) => Name === 'email')?.Value ?? null,
    status: user.UserStatus ?? null,
    enabled: user.Enabled ?? null,
    created_at: user.UserCreateDate?.toISOString() ?? null,
    updated_at: user.UserLastModifiedDate?.toISOString() ?? null,
    attributes: attributes.map(({ Name = '', Value = null }) => ({ [Name]: Value })),
  };
}

export async function rowsOfMirror(databaseUrl: string): Promise<ComparableRow[]> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    // By name, with no `*`: a column too many or too few fails here.
    const { rows } = await client.query<ComparableRow>(`
      select username, email, status, enabled,
        to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as created_at,
        to_char(updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as updated_at,
        attributes
      from cognito.users`);
    return rows.sort(byUsername);
  } finally {
    await client.end();
  }
}

/** By code units, which is nobody's collation but the same on both sides. */
function byUsername(a: ComparableRow, b: ComparableRow): number {
  return a.username < b.username ? -1 : Number(a.username > b.username);
}
