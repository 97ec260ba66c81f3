import { describe, expect, test } from 'vitest';
import { queueAddress } from '../../../shared/sqs-address.ts';
import {
  eventPattern,
  queueArn,
  ruleArn,
  ruleName,
  samePolicy,
  statementOf,
  targetId,
  targetOf,
  withoutStatement,
  withStatement,
} from './event-rule.ts';

const QUEUE = 'arn:aws:sqs:eu-west-1:123456789012:events';
const RULE = 'arn:aws:events:eu-west-1:123456789012:rule/cognito-feed-eu-west-1_A';
const other = { Sid: 'Theirs', Effect: 'Allow', Principal: '*', Action: 'sqs:*', Resource: QUEUE };
const own = statementOf(RULE, QUEUE);

test.each([
  ['https://sqs.eu-west-1.amazonaws.com/123456789012/events', 'eu-west-1', QUEUE],
  ['https://eu-west-1.queue.amazonaws.com/123456789012/events', 'eu-west-1', QUEUE],
  [
    'https://sqs.cn-north-1.amazonaws.com.cn/123456789012/events',
    'cn-north-1',
    'arn:aws-cn:sqs:cn-north-1:123456789012:events',
  ],
  [
    'https://sqs.us-gov-west-1.amazonaws.com/123456789012/q',
    'us-gov-west-1',
    'arn:aws-us-gov:sqs:us-gov-west-1:123456789012:q',
  ],
  ['http://127.0.0.1:5000/123456789012/events', null, 'arn:aws:sqs:us-east-1:123456789012:events'],
  [
    'https://vpce-0a.sqs.eu-west-1.vpce.amazonaws.com/123456789012/events',
    null,
    'arn:aws:sqs:us-east-1:123456789012:events',
  ],
])('%s', (url, region, arn) => {
  const address = queueAddress(url);
  expect(address.region).toBe(region);
  expect(queueArn(region ?? 'us-east-1', address)).toBe(arn);
});

test('names are what EventBridge takes, whatever the pool is called', () => {
  for (const pool of ['eu-west-1_Abc', 'a b/c:ü', 'x'.repeat(200)])
    expect(ruleName(pool)).toMatch(/^[.\-_A-Za-z0-9]{1,64}$/);
  expect(ruleName('eu-west-1_Abc')).toBe('cognito-feed-eu-west-1_Abc');
  expect(ruleArn('eu-west-1', '123456789012', ruleName('eu-west-1_A'))).toBe(RULE);
  expect(targetId(QUEUE)).toMatch(/^[.\-_A-Za-z0-9]{1,64}$/);
  expect(targetOf(`${QUEUE}.fifo`, 'p')).toMatchObject({ SqsParameters: { MessageGroupId: 'p' } });
});

test('the pattern lets self-service calls through, which carry no pool', () => {
  expect(eventPattern('eu-west-1_A')).toMatchObject({
    source: ['aws.cognito-idp'],
    detail: {
      $or: expect.arrayContaining([
        { requestParameters: { userPoolId: ['eu-west-1_A'] } },
        { requestParameters: { userPoolId: [{ exists: false }] } },
      ]),
    },
  });
  // https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html: 2,048 characters.
  expect(JSON.stringify(eventPattern('eu-west-1_A'.padEnd(55, 'x'))).length).toBeLessThan(2_048);
});

describe('the policy', () => {
  test('keeps what others have put there, and has our statement once', () => {
    const once = withStatement(JSON.stringify({ Version: '2008-10-17', Id: 'x', Statement: other }), own);
    expect(JSON.parse(once)).toEqual({ Version: '2008-10-17', Id: 'x', Statement: [other, own] });
    expect(samePolicy(withStatement(once, own), once)).toBe(true);
    expect(JSON.parse(withoutStatement(once, own.Sid))).toEqual({ Version: '2008-10-17', Id: 'x', Statement: [other] });
  });

  test('is made where there is none, and goes with its only statement', () => {
    const made = withStatement('', own);
    expect(JSON.parse(made)).toEqual({ Version: '2012-10-17', Statement: [own] });
    expect(withoutStatement(made, own.Sid)).toBe('');
    expect(withoutStatement('', own.Sid)).toBe('');
  });

  test('is the same in whatever order it is written', () => {
    expect(samePolicy('{"a":1,"b":[{"c":2,"d":3}]}', '{ "b": [{"d":3,"c":2}], "a": 1 }')).toBe(true);
    expect(samePolicy('{"a":1}', '{"a":2}')).toBe(false);
    expect(samePolicy('', '{}')).toBe(false);
  });

  test('names one rule and one queue', () => {
    expect(statementOf(`${RULE}2`, QUEUE).Sid).not.toBe(own.Sid);
    expect(own['Condition']).toEqual({ ArnEquals: { 'aws:SourceArn': RULE } });
  });
});
