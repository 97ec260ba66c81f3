/**
 * One state of one user, in a spelling of its own that Cognito's records and the mirror's rows both lead to. Written apart from the code that it
 * judges: neither `rowOf` nor the writer's SQL is used.
 */

interface WireUser {
  readonly Username: string;
  readonly Attributes: readonly { readonly Name: string; readonly Value?: string }[];
  readonly UserCreateDate: number;
  readonly UserLastModifiedDate: number;
  readonly Enabled: boolean;
  readonly UserStatus: string;
}

/** What `to_jsonb` gives of a mirrored row. Timestamps are UTC without a zone. */
export interface MirroredRow {
  readonly username: string;
  readonly email: string | null;
  readonly status: string | null;
  readonly enabled: boolean | null;
  readonly created_at: string | null;
  readonly updated_at: string | null;
  readonly attributes: readonly Readonly<Record<string, string | null>>[] | null;
}

export interface State {
  readonly sub: string;
  readonly username: string;
  /** Equal states have equal texts, in whatever order their attributes came. */
  readonly text: string;
}

type Pair = readonly [name: string, value: string | null];

function stateOf(
  username: string,
  columns: readonly unknown[],
  attributes: readonly Pair[],
  createdAt: number,
  updatedAt: number,
): State {
  const sub = attributes.find(([name]) => name === 'sub')?.[1] ?? '';
  const sorted = attributes.map((pair) => JSON.stringify(pair)).sort();
  return { sub, username, text: JSON.stringify([username, ...columns, createdAt, updatedAt, sorted]) };
}

/** @param json a user as ListUsers spells it */
export function stateOfRecord(json: string): State {
  const user = JSON.parse(json) as WireUser;
  const attributes = user.Attributes.map(({ Name, Value }): Pair => [Name, Value ?? null]);
  const email = attributes.find(([name]) => name === 'email')?.[1] ?? null;
  return stateOf(
    user.Username,
    [email, user.UserStatus, user.Enabled],
    attributes,
    Math.round(user.UserCreateDate * 1000),
    Math.round(user.UserLastModifiedDate * 1000),
  );
}

const millis = (timestamp: string | null): number => (timestamp === null ? Number.NaN : Date.parse(`${timestamp}Z`));

export function stateOfRow(row: MirroredRow): State {
  const attributes = (row.attributes ?? []).flatMap((one): Pair[] => Object.entries(one));
  return stateOf(
    row.username,
    [row.email, row.status, row.enabled],
    attributes,
    millis(row.created_at),
    millis(row.updated_at),
  );
}
