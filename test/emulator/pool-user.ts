/**
 * One user of an emulated pool, kept as the JSON that answers carry: a million users cost one string each, and a page is a join.
 */
import type { CognitoUser } from '../../shared/user.ts';
import { asciiJson } from './ascii-json.ts';

/** A null value is an attribute that answers name without a Value. */
export type Attribute = readonly [name: string, value: string | null];

export interface PoolUser {
  /** Where the user stands in every list: random, unique, below 2^53, immutable. */
  readonly place: number;
  readonly sub: string;
  readonly username: string;
  status: string;
  enabled: boolean;
  /** As ListUsers shows the user. Replaced as a whole at each write. */
  json: string;
}

/** What a user's JSON says. Times are milliseconds since the epoch. */
export interface UserDetails {
  readonly username: string;
  readonly attributes: readonly Attribute[];
  readonly createdAt: number;
  readonly modifiedAt: number;
  readonly enabled: boolean;
  readonly status: string;
}

interface WireAttribute {
  Name: string;
  Value?: string;
}

interface WireUser {
  Username: string;
  Attributes: WireAttribute[];
  UserCreateDate: number;
  UserLastModifiedDate: number;
  Enabled: boolean;
  UserStatus: string;
}

const wireAttribute = ([Name, Value]: Attribute): WireAttribute => (Value === null ? { Name } : { Name, Value });

/** Dates travel as epoch seconds with a fraction, to the millisecond. `filter.ts` relies on the order of the keys. */
export function serialise(user: UserDetails): string {
  const wire: WireUser = {
    Username: user.username,
    Attributes: user.attributes.map(wireAttribute),
    UserCreateDate: user.createdAt / 1000,
    UserLastModifiedDate: user.modifiedAt / 1000,
    Enabled: user.enabled,
    UserStatus: user.status,
  };
  return asciiJson(wire);
}

export function detailsOf(json: string): UserDetails {
  const wire = JSON.parse(json) as WireUser;
  return {
    username: wire.Username,
    attributes: wire.Attributes.map(({ Name, Value }) => [Name, Value ?? null]),
    createdAt: Math.round(wire.UserCreateDate * 1000),
    modifiedAt: Math.round(wire.UserLastModifiedDate * 1000),
    enabled: wire.Enabled,
    status: wire.UserStatus,
  };
}

/** The record as the SDK gives it for this JSON. */
export function cognitoUserOf(json: string): CognitoUser {
  const { username, attributes, createdAt, modifiedAt, enabled, status } = detailsOf(json);
  return {
    Username: username,
    Attributes: attributes.map(wireAttribute),
    UserCreateDate: new Date(createdAt),
    UserLastModifiedDate: new Date(modifiedAt),
    Enabled: enabled,
    UserStatus: status,
  };
}

/** The same user with its attributes chosen or put in another order. */
export function withAttributes(
  json: string,
  change: (attributes: readonly Attribute[]) => readonly Attribute[],
): string {
  const details = detailsOf(json);
  return serialise({ ...details, attributes: change(details.attributes) });
}

/** AdminGetUser's body: the same fields, but `UserAttributes`. Inside a value the quotes would be escaped, so the first hit is the key. */
export const asAdminGetUser = (json: string): string => json.replace('"Attributes":', '"UserAttributes":');
