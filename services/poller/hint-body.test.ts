import { expect, test } from 'vitest';
import { readHintBody } from './hint-body.ts';

const NOW = 1_800_000_000_000;
const told = { sub: null, expect: 'change', since: NOW - 5_000 };
const read = (body: unknown) => readHintBody(JSON.stringify(body), NOW);

const trigger = (request: object) => ({
  version: '1',
  region: 'eu-west-1',
  userPoolId: 'eu-west-1_EXAMPLE',
  userName: 'ada',
  callerContext: { awsSdkVersion: '1', clientId: 'c' },
  triggerSource: 'PostConfirmation_ConfirmSignUp',
  request,
  response: {},
});

test.each<[string, unknown, object]>([
  [
    'a plain list',
    { usernames: ['ada', 'bob'], subs: ['s'] },
    {
      pool: null,
      hints: [
        { by: 'sub', name: 's', ...told },
        { by: 'username', name: 'ada', ...told },
        { by: 'username', name: 'bob', ...told },
      ],
      nameless: false,
    },
  ],
  ['an empty list', { usernames: [] }, { pool: null, hints: [], nameless: false }],
  [
    'a Lambda trigger',
    trigger({ userAttributes: { sub: 's', email: 'a@example.com' } }),
    { pool: 'eu-west-1_EXAMPLE', hints: [{ by: 'sub', name: 's', ...told }] },
  ],
  [
    'a Lambda trigger before there is a sub',
    trigger({ userAttributes: { email: 'a@example.com' } }),
    { pool: 'eu-west-1_EXAMPLE', hints: [{ by: 'username', name: 'ada', ...told }] },
  ],
  [
    'an event of an API destination',
    {
      source: 'aws.cognito-idp',
      'detail-type': 'AWS API Call via CloudTrail',
      detail: {
        eventSource: 'cognito-idp.amazonaws.com',
        eventName: 'AdminDeleteUser',
        eventID: 'e',
        requestParameters: { userPoolId: 'p' },
        additionalEventData: { sub: 's' },
      },
    },
    { pool: 'p', eventId: 'e', hints: [{ by: 'sub', name: 's', sub: null, expect: 'delete', since: null }] },
  ],
  [
    'an event that names nobody',
    { source: 'aws.cognito-idp', detail: { eventName: 'StartUserImportJob', eventID: 'e' } },
    { eventId: 'e', hints: [], nameless: true },
  ],
  [
    'a failed call',
    { source: 'aws.cognito-idp', detail: { eventName: 'SignUp', errorCode: 'E' } },
    { hints: [], nameless: false },
  ],
])('%s', (_, body, expected) => {
  expect(read(body)).toMatchObject(expected);
});

test.each<[string, string]>([
  ['no JSON', '{'],
  ['nothing', ''],
  ['a number', '7'],
  ['an empty object', '{}'],
  ['a list of no texts', '{"usernames":[7]}'],
  ['an empty name', '{"subs":[""]}'],
  ['too long a name', JSON.stringify({ subs: ['x'.repeat(201)] })],
  ['a word that is not known', '{"usernames":["a"],"emails":["b"]}'],
  ['a list that is none', '{"usernames":"secret@example.com"}'],
])('%s is refused, and not repeated', (_, body) => {
  const reason = readHintBody(body, NOW);
  expect(reason).toBeTypeOf('string');
  expect(reason).not.toContain('secret');
});
