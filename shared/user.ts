/**
 * One user as the mirror's row holds it, and the way there from a Cognito record. Pure.
 */

/** The seven columns. Times are milliseconds since the epoch, UTC; null where Cognito gave none. */
export interface Row {
  readonly username: string;
  readonly email: string | null;
  readonly status: string | null;
  readonly enabled: boolean | null;
  readonly createdAt: number | null;
  readonly updatedAt: number | null;
  /** In the order Cognito gave them; a missing Value is null. */
  readonly attributes: [name: string, value: string | null][];
}

/** What ListUsers and AdminGetUser say of one user; the SDK's `UserType` has this shape. */
export interface CognitoUser {
  readonly Username?: string | undefined;
  readonly Attributes?:
    | readonly { readonly Name?: string | undefined; readonly Value?: string | undefined }[]
    | undefined;
  readonly UserCreateDate?: Date | undefined;
  readonly UserLastModifiedDate?: Date | undefined;
  readonly Enabled?: boolean | undefined;
  readonly UserStatus?: string | undefined;
}

/**
 * Postgres stores neither U+0000 nor lone surrogates; both become U+FFFD.
 */
export function storable(text: string): string {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed();
  return wellFormed.includes('\u0000') ? wellFormed.replaceAll('\u0000', '\uFFFD') : wellFormed;
}

/**
 * The mirror's row for a Cognito record: the values that the Wrappers foreign table gives.
 * @throws TypeError where the record has no Username: then it is no user.
 */
export function rowOf(user: CognitoUser): Row {
  if (user.Username === undefined) throw new TypeError('a user without a Username');
  const attributes: [string, string | null][] = [];
  let email: string | null = null;
  for (const { Name, Value } of user.Attributes ?? []) {
    if (Name === undefined) continue;
    const value = Value === undefined ? null : storable(Value);
    attributes.push([storable(Name), value]);
    if (Name === 'email') email = value;
  }
  return {
    username: storable(user.Username),
    email,
    status: user.UserStatus === undefined ? null : storable(user.UserStatus),
    enabled: user.Enabled ?? null,
    createdAt: millis(user.UserCreateDate),
    updatedAt: millis(user.UserLastModifiedDate),
    attributes,
  };
}

function millis(date: Date | undefined): number | null {
  if (date === undefined) return null;
  const ms = date.getTime();
  return Number.isFinite(ms) ? ms : null;
}

/**
 * The user's identity. A row that has no sub (only a hand-edited one, or a foreign emulator's) is known by a stand-in made of
 * its username; `?` begins no sub that Cognito gives.
 */
export function subOf(row: Row): string {
  for (const [name, value] of row.attributes) if (name === 'sub' && value !== null && value !== '') return value;
  return standInSub(row.username);
}

/** @see subOf */
export const standInSub = (username: string): string => `?${username}`;
export const isStandIn = (sub: string): boolean => sub.startsWith('?');

/**
 * Whether the username in the mirror may not be the one in the pool, because `storable` changed it. Such a user can't be
 * proved gone by name.
 */
export const mayBeAltered = (username: string): boolean => username.includes('\uFFFD');
