/**
 * ListUsers' Filter: its grammar, and whether a user matches.
 * Source: https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListUsers.html
 */
import { asciiJson } from './ascii-json.ts';
import { failedConstraint, invalidParameter } from './cognito-error.ts';

const SEARCHABLE = [
  'username',
  'email',
  'phone_number',
  'name',
  'given_name',
  'family_name',
  'preferred_username',
  'cognito:user_status',
  'status',
  'sub',
] as const;

export interface Filter {
  readonly attribute: (typeof SEARCHABLE)[number];
  /** `^=`; else `=`. */
  readonly prefix: boolean;
  readonly value: string;
}

const MAX_FILTER_CHARACTERS = 256;

/** One attribute, quoted or not; `=` or `^=`; a value in double quotes, in which only `"` and `\` are escaped by a backslash. */
const GRAMMAR = /^\s*(?:"([\w:]+)"|([\w:]+))\s*(\^?=)\s*"((?:[^"\\]|\\["\\])*)"\s*$/;

/**
 * @returns undefined for an empty filter, which lists everybody
 * @throws CognitoError InvalidParameterException
 */
export function parseFilter(text: string | undefined): Filter | undefined {
  if (text === undefined || text === '') return undefined;
  if (text.length > MAX_FILTER_CHARACTERS) {
    throw failedConstraint(text, 'filter', 'Member must have length less than or equal to 256');
  }
  const match = GRAMMAR.exec(text);
  if (match === null) throw invalidParameter('Error while parsing filter: invalid syntax');
  const name = match[1] ?? match[2] ?? '';
  const attribute = SEARCHABLE.find((searchable) => searchable === name);
  if (attribute === undefined)
    throw invalidParameter(`Error while parsing filter: ${name} is not a searchable attribute`);
  const value = (match[4] ?? '').replace(/\\(["\\])/g, '$1');
  const prefix = match[3] === '^=';
  // The documentation calls cognito:user_status case-insensitive, and status (Enabled or Disabled) case-sensitive.
  if (attribute === 'cognito:user_status') return { attribute, prefix, value: value.toUpperCase() };
  if (attribute === 'status' && !prefix && value !== 'Enabled' && value !== 'Disabled') {
    throw invalidParameter('Error while parsing filter: status is Enabled or Disabled');
  }
  return { attribute, prefix, value };
}

/**
 * Whether a user's JSON matches. It looks for text: inside a value each quote is escaped, so what is sought can only be found
 * where it is meant, and a walk over a million users parses nothing.
 */
export function matcher({ attribute, prefix, value }: Filter): (json: string) => boolean {
  const start = asciiJson(value).slice(0, -1);
  switch (attribute) {
    case 'username': {
      const sought = `{"Username":${start}${prefix ? '' : '",'}`;
      return (json) => json.startsWith(sought);
    }
    case 'cognito:user_status': {
      const sought = `"UserStatus":${start}${prefix ? '' : '"}'}`;
      return (json) => json.includes(sought);
    }
    case 'status': {
      const enabled = prefix ? 'Enabled'.startsWith(value) : value === 'Enabled';
      const disabled = prefix ? 'Disabled'.startsWith(value) : value === 'Disabled';
      return (json) => (json.includes(',"Enabled":true,') ? enabled : disabled);
    }
    default: {
      const sought = `{"Name":"${attribute}","Value":${start}${prefix ? '' : '"}'}`;
      return (json) => json.includes(sought);
    }
  }
}
