/**
 * A CloudTrail event of Cognito, as EventBridge delivers it, read for what it hints at. Pure. Never throws, whatever the body.
 * Sources: reference notes on Cognito ("CloudTrail events through EventBridge");
 * https://docs.aws.amazon.com/cognito/latest/developerguide/logging-using-cloudtrail.html
 */
import { type Hint, LONGEST_NAME } from './hint.ts';

export type EventReading =
  | {
      readonly kind: 'hint';
      readonly pool: string | null;
      readonly eventId: string | null;
      readonly hint: Omit<Hint, 'source'>;
    }
  /** Somebody has changed, nobody says who. */
  | { readonly kind: 'nameless'; readonly pool: string | null; readonly eventId: string | null }
  /** Nothing has changed: a failed call, a read, another service's event. */
  | { readonly kind: 'ignored' }
  /** No event at all. */
  | { readonly kind: 'unreadable' };

/** Calls after which a row may differ. `undated`: they may not move the last-modified date. */
const CALLS: Readonly<Record<string, 'change' | 'undated' | 'delete'>> = {
  AdminCreateUser: 'change',
  AdminConfirmSignUp: 'change',
  AdminUpdateUserAttributes: 'change',
  AdminDeleteUserAttributes: 'change',
  AdminDeleteUser: 'delete',
  AdminDisableUser: 'undated',
  AdminEnableUser: 'undated',
  AdminSetUserPassword: 'change',
  AdminResetUserPassword: 'change',
  AdminLinkProviderForUser: 'undated',
  AdminDisableProviderForUser: 'undated',
  AdminRespondToAuthChallenge: 'undated',
  SignUp: 'change',
  ConfirmSignUp: 'change',
  UpdateUserAttributes: 'change',
  DeleteUserAttributes: 'change',
  VerifyUserAttribute: 'change',
  DeleteUser: 'delete',
  ConfirmForgotPassword: 'change',
  RespondToAuthChallenge: 'undated',
  StartUserImportJob: 'change',
};

/** The hosted pages, by their names in lower case: AWS writes both `Signup_POST` and `signup_POST`. */
const PAGES: ReadonlySet<string> = new Set([
  'signup_post',
  'confirm_post',
  'confirmuser_get',
  'confirmforgotpassword_post',
  'resetpassword_post',
  'saml2response_post',
  'oauth2response_get',
  'oauth2response_post',
]);

/** For the rule: AWS's own spellings of the pages beside the calls. */
export const EVENT_NAMES: readonly string[] = [
  ...Object.keys(CALLS),
  ...['Signup_POST', 'signup_POST', 'Confirm_POST', 'confirm_POST', 'ConfirmUser_GET', 'confirmUser_GET'],
  ...['ConfirmForgotPassword_POST', 'confirmForgotPassword_POST', 'ResetPassword_POST', 'resetPassword_POST'],
  ...['SAML2Response_POST', 'saml2response_POST', 'saml2Response_POST'],
  ...['OAuth2Response_GET', 'oauth2Response_GET', 'OAuth2Response_POST', 'oauth2Response_POST'],
];

export const DETAIL_TYPES = ['AWS API Call via CloudTrail', 'AWS Service Event via CloudTrail'] as const;
export const EVENT_SOURCE = 'aws.cognito-idp';
export const CLOUDTRAIL_SOURCE = 'cognito-idp.amazonaws.com';

type Fields = Readonly<Record<string, unknown>>;

/** @param body the text as it came */
export function readEventText(body: string): EventReading {
  try {
    return readEvent(JSON.parse(body));
  } catch {
    return { kind: 'unreadable' };
  }
}

export function readEvent(body: unknown): EventReading {
  const event = fieldsOf(body);
  const detail = fieldsOf(event?.['detail']);
  if (event === null || detail === null) return { kind: 'unreadable' };
  if (event['source'] !== EVENT_SOURCE && detail['eventSource'] !== CLOUDTRAIL_SOURCE) return { kind: 'ignored' };
  const name = textOf(detail['eventName']);
  if (name === null) return { kind: 'unreadable' };
  const effect = effectOf(name);
  if (effect === null || textOf(detail['errorCode']) !== null || detail['readOnly'] === true)
    return { kind: 'ignored' };

  const pool = poolOf(detail);
  const eventId = nameOf(detail['eventID']) ?? nameOf(event['id']);
  const named = whomOf(detail);
  if (named === null) return { kind: 'nameless', pool, eventId };
  const at = Date.parse(textOf(detail['eventTime']) ?? textOf(event['time']) ?? '');
  const since = effect === 'change' && Number.isFinite(at) ? at : null;
  const expect = effect === 'delete' ? 'delete' : 'change';
  return { kind: 'hint', pool, eventId, hint: { ...named, sub: null, expect, since } };
}

function effectOf(name: string): 'change' | 'undated' | 'delete' | null {
  if (Object.hasOwn(CALLS, name)) return CALLS[name] ?? null;
  return PAGES.has(name.toLowerCase()) ? 'undated' : null;
}

/** Where parameters stand: API calls, hosted pages (values are lists there), answers. */
function places(detail: Fields): Fields[] {
  const additional = fieldsOf(detail['additionalEventData']);
  const all = [
    additional,
    fieldsOf(additional?.['requestParameters']),
    fieldsOf(detail['requestParameters']),
    fieldsOf(detail['responseElements']),
    fieldsOf(fieldsOf(detail['responseElements'])?.['user']),
    fieldsOf(detail['serviceEventDetails']),
  ];
  return all.filter((place) => place !== null);
}

/** The sub, from wherever it stands; else a username that is not hidden. */
function whomOf(detail: Fields): { by: 'sub' | 'username'; name: string } | null {
  const here = places(detail);
  const sub = first(here, ['sub', 'userSub', 'usersub']) ?? subAmongAttributes(here);
  if (sub !== null) return { by: 'sub', name: sub };
  const username = first(here, ['username', 'userName', 'user_name']);
  return username === null ? null : { by: 'username', name: username };
}

function subAmongAttributes(here: readonly Fields[]): string | null {
  for (const place of here) {
    for (const list of [place['attributes'], place['userAttributes']]) {
      if (!Array.isArray(list)) continue;
      for (const one of list.slice(0, 200)) {
        const attribute = fieldsOf(one);
        if (attribute?.['name'] === 'sub' || attribute?.['Name'] === 'sub')
          return nameOf(attribute['value'] ?? attribute['Value']);
      }
    }
  }
  return null;
}

function poolOf(detail: Fields): string | null {
  const named = first(places(detail), ['userPoolId', 'userPoolID', 'UserPoolId', 'user_pool_id', 'userpoolid']);
  if (named !== null) return named;
  const resources = Array.isArray(detail['resources']) ? detail['resources'].slice(0, 20) : [];
  for (const resource of resources) {
    const arn = textOf(resource) ?? textOf(fieldsOf(resource)?.['ARN']) ?? textOf(fieldsOf(resource)?.['arn']);
    const pool = /:userpool\/([^/]+)$/.exec(arn ?? '')?.[1];
    if (pool !== undefined) return pool;
  }
  return null;
}

function first(here: readonly Fields[], names: readonly string[]): string | null {
  for (const place of here) {
    for (const name of names) {
      const found = nameOf(place[name]);
      if (found !== null) return found;
    }
  }
  return null;
}

/** A text, or the first of a list of them, that names somebody. */
function nameOf(value: unknown): string | null {
  const text = textOf(Array.isArray(value) ? value[0] : value);
  return text === null || text.length > LONGEST_NAME || text.startsWith('HIDDEN_') ? null : text;
}

const textOf = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);

function fieldsOf(value: unknown): Fields | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : null;
}
