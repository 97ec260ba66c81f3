/** Every shape of event that the reference notes know, and their variants. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EVENT_NAMES, readEvent, readEventText } from './cloudtrail-event.ts';

const POOL = 'eu-west-1_EXAMPLE';
const SUB = 'd488e438-b0d1-7011-bc2c-604a199fcdd5';
const HIDDEN = 'HIDDEN_DUE_TO_SECURITY_REASONS';
const ID = '0c0ffee0-0000-4000-8000-000000000003';
const AT = Date.parse('2026-01-01T00:00:00Z');

/** The example of the reference notes, with other parts of `detail`. */
const event = (detail: object, rest: object = {}) => ({
  version: '0',
  id: '0c0ffee0-0000-4000-8000-000000000001',
  'detail-type': 'AWS API Call via CloudTrail',
  source: 'aws.cognito-idp',
  account: '123456789012',
  time: '2026-01-01T00:00:00Z',
  region: 'eu-west-1',
  resources: [],
  detail: {
    eventVersion: '1.10',
    eventTime: '2026-01-01T00:00:00Z',
    eventSource: 'cognito-idp.amazonaws.com',
    eventName: 'AdminUpdateUserAttributes',
    awsRegion: 'eu-west-1',
    requestParameters: { userPoolId: POOL, username: HIDDEN, userAttributes: HIDDEN },
    responseElements: null,
    additionalEventData: { sub: SUB },
    requestID: '0c0ffee0-0000-4000-8000-000000000002',
    eventID: ID,
    readOnly: false,
    eventType: 'AwsApiCall',
    managementEvent: true,
    recipientAccountId: '123456789012',
    eventCategory: 'Management',
    ...detail,
  },
  ...rest,
});

const bySub = { by: 'sub', name: SUB, sub: null };
const hinted = (hint: object, pool: string | null = POOL) => ({ kind: 'hint', pool, eventId: ID, hint });

/** Hosted pages: parameters as lists, no request parameters. */
const page = (eventName: string, additionalEventData: object, detail: object = {}) =>
  event(
    { eventName, eventType: 'AwsServiceEvent', requestParameters: null, additionalEventData, ...detail },
    { 'detail-type': 'AWS Service Event via CloudTrail' },
  );

test.each<[string, unknown, object]>([
  ['the example', event({}), hinted({ ...bySub, expect: 'change', since: AT })],
  ['a delete', event({ eventName: 'AdminDeleteUser' }), hinted({ ...bySub, expect: 'delete', since: null })],
  [
    'a call that may not move the date',
    event({ eventName: 'AdminDisableUser' }),
    hinted({ ...bySub, expect: 'change', since: null }),
  ],
  [
    'a clear username and no sub',
    event({ requestParameters: { userPoolId: POOL, username: 'ada' }, additionalEventData: null }),
    hinted({ by: 'username', name: 'ada', sub: null, expect: 'change', since: AT }),
  ],
  [
    'a clear username beside a sub: the sub names him better',
    event({ requestParameters: { userPoolId: POOL, username: 'ada' } }),
    hinted({ ...bySub, expect: 'change', since: AT }),
  ],
  [
    'a hidden username and no sub names nobody',
    event({ additionalEventData: {} }),
    { kind: 'nameless', pool: POOL, eventId: ID },
  ],
  [
    'SignUp: no pool, the sub in the answer',
    event({
      eventName: 'SignUp',
      requestParameters: { clientId: 'c', username: HIDDEN },
      responseElements: { userConfirmed: false, userSub: SUB },
      additionalEventData: null,
    }),
    hinted({ ...bySub, expect: 'change', since: AT }, null),
  ],
  [
    'DeleteUser: no pool, the sub alone',
    event({ eventName: 'DeleteUser', requestParameters: { accessToken: HIDDEN } }),
    hinted({ ...bySub, expect: 'delete', since: null }, null),
  ],
  [
    'no parameters at all',
    event({ eventName: 'VerifyUserAttribute', requestParameters: null }),
    hinted({ ...bySub, expect: 'change', since: AT }, null),
  ],
  [
    'AdminCreateUser: the sub among the attributes of the answer',
    event({
      eventName: 'AdminCreateUser',
      responseElements: { user: { username: HIDDEN, attributes: [{ name: 'sub', value: SUB }] } },
      additionalEventData: null,
    }),
    hinted({ ...bySub, expect: 'change', since: AT }),
  ],
  [
    'the pool as a resource',
    event({
      requestParameters: null,
      resources: [{ ARN: `arn:aws:cognito-idp:eu-west-1:123456789012:userpool/${POOL}` }],
    }),
    hinted({ ...bySub, expect: 'change', since: AT }),
  ],
  [
    'a hosted page: lists, the sub and the pool in additional data',
    page('Confirm_POST', { sub: [SUB], requestParameters: { client_id: ['c'] }, userPoolId: [POOL] }),
    hinted({ ...bySub, expect: 'change', since: null }),
  ],
  [
    'a hosted page with the sub in its parameters, in small letters',
    page('confirm_POST', { requestParameters: { sub: [SUB], userPoolId: [POOL] } }),
    hinted({ ...bySub, expect: 'change', since: null }),
  ],
  [
    'a hosted page with a username in a list',
    page('ResetPassword_POST', { requestParameters: { username: ['ada'], userPoolId: [POOL] } }),
    hinted({ by: 'username', name: 'ada', sub: null, expect: 'change', since: null }),
  ],
  ...['Signup_POST', 'signup_POST', 'SAML2Response_POST', 'OAuth2Response_GET', 'oauth2response_POST'].map(
    (name): [string, unknown, object] => [
      `${name} names nobody`,
      page(name, { requestParameters: { client_id: ['c'], username: [HIDDEN] } }),
      { kind: 'nameless', pool: null, eventId: ID },
    ],
  ),
  [
    'StartUserImportJob names nobody',
    event({ eventName: 'StartUserImportJob', additionalEventData: null, requestParameters: { userPoolId: POOL } }),
    { kind: 'nameless', pool: POOL, eventId: ID },
  ],
  ['a failed call', event({ errorCode: 'UsernameExistsException' }), { kind: 'ignored' }],
  ['an empty errorCode is none', event({ errorCode: '' }), hinted({ ...bySub, expect: 'change', since: AT })],
  ['a null errorCode is none', event({ errorCode: null }), hinted({ ...bySub, expect: 'change', since: AT })],
  ['our own reads', event({ eventName: 'ListUsers', readOnly: true }), { kind: 'ignored' }],
  ['a call that changes no row', event({ eventName: 'InitiateAuth' }), { kind: 'ignored' }],
  ['a name of Object.prototype', event({ eventName: 'constructor' }), { kind: 'ignored' }],
  ["another service's event", event({ eventSource: 's3.amazonaws.com' }, { source: 'aws.s3' }), { kind: 'ignored' }],
  [
    'an event without an eventID is known by its own',
    event({ eventID: undefined }),
    { ...hinted({ ...bySub, expect: 'change', since: AT }), eventId: '0c0ffee0-0000-4000-8000-000000000001' },
  ],
  [
    'a date that is none',
    event({ eventTime: 'yesterday' }, { time: 7 }),
    hinted({ ...bySub, expect: 'change', since: null }),
  ],
  [
    'a sub that no user can have',
    event({ additionalEventData: { sub: 'x'.repeat(300) } }),
    { kind: 'nameless', pool: POOL, eventId: ID },
  ],
  ['no event name', event({ eventName: 7 }), { kind: 'unreadable' }],
  ['no detail', { source: 'aws.cognito-idp' }, { kind: 'unreadable' }],
  ['a list', [event({})], { kind: 'unreadable' }],
  ['nothing', null, { kind: 'unreadable' }],
])('%s', (_, body, reading) => {
  expect(readEvent(body)).toEqual(reading);
  expect(readEventText(JSON.stringify(body))).toEqual(reading);
});

test('the rule lets through every name that is reacted to, and none else', () => {
  for (const eventName of EVENT_NAMES) expect(readEvent(event({ eventName })).kind, eventName).not.toBe('ignored');
});

describe('a body, however broken,', () => {
  test('is read or not, and never throws', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(['hint', 'nameless', 'ignored', 'unreadable']).toContain(readEventText(text).kind);
      }),
    );
  });

  test('gives only names that a filter can hold, whatever stands in the fields that it reads', () => {
    const anything = fc.anything({ maxDepth: 3, withNullPrototype: true });
    const fields = fc.record(
      {
        eventName: fc.oneof(fc.constantFrom(...EVENT_NAMES), anything),
        requestParameters: fc.oneof(fc.record({ userPoolId: anything, username: anything }), anything),
        responseElements: fc.oneof(fc.record({ userSub: anything, user: anything, attributes: anything }), anything),
        additionalEventData: fc.oneof(fc.record({ sub: anything, requestParameters: anything }), anything),
        resources: anything,
        errorCode: anything,
        eventTime: anything,
        eventID: anything,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fields, (detail) => {
        const reading = readEvent(event(detail));
        if (reading.kind !== 'hint') return;
        expect(reading.hint.name.length).toBeGreaterThan(0);
        expect(reading.hint.name.length).toBeLessThanOrEqual(200);
        expect(reading.hint.since === null || Number.isFinite(reading.hint.since)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});
