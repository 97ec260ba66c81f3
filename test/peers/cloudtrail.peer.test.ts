/**
 * Near real time against real EventBridge and SQS semantics (moto): a CloudTrail event on the default bus, through the rule that `eventbridge apply`
 * makes, into SQS, to a refresh, to the row.
 */
import { randomUUID } from 'node:crypto';
import {
  CloudWatchEventsClient,
  DescribeRuleCommand,
  ListTargetsByRuleCommand,
  PutEventsCommand,
} from '@aws-sdk/client-cloudwatch-events';
import {
  AdminCreateUserCommand,
  AdminDeleteUserCommand,
  AdminUpdateUserAttributesCommand,
} from '@aws-sdk/client-cognito-identity-provider';
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from 'vitest';
import { eventbridgeApply, eventbridgeDestroy, eventbridgePlan } from '../../services/cli/commands/eventbridge.ts';
import { ruleName } from '../../services/cli/eventbridge/event-rule.ts';
import { readHints } from '../../shared/hint-record.ts';
import { commandHere } from '../command-here.ts';
import { Emulator } from '../emulator/emulator.ts';
import { startFeed } from '../feed.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { until } from '../until.ts';
import { startMoto } from './moto.ts';
import { CREDENTIALS, type Peer, REGION } from './peer.ts';

let moto: Peer;
let redis: RedisServer;
let sqs: SQSClient;
let events: CloudWatchEventsClient;

beforeAll(async () => {
  process.env['AWS_ACCESS_KEY_ID'] = CREDENTIALS.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = CREDENTIALS.secretAccessKey;
  [moto, redis] = await Promise.all([startMoto(), startRedis()]);
  const config = { region: REGION, endpoint: moto.endpoint, credentials: CREDENTIALS };
  sqs = new SQSClient(config);
  events = new CloudWatchEventsClient(config);
});
afterAll(async () => {
  sqs?.destroy();
  events?.destroy();
  await Promise.all([moto?.stop(), redis?.stop()]);
});

async function makeQueue(attributes: Record<string, string> = {}): Promise<{ url: string; arn: string }> {
  const { QueueUrl: url = '' } = await sqs.send(
    new CreateQueueCommand({ QueueName: `q-${randomUUID()}`, Attributes: attributes }),
  );
  return { url, arn: (await attributesOf(url))['QueueArn'] ?? '' };
}

const attributesOf = async (url: string) =>
  (await sqs.send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['All'] }))).Attributes ?? {};
const policyOf = async (url: string) => (await attributesOf(url))['Policy'] ?? '';

/** The feed of moto's own pool. */
async function feedOf(queueUrl: string, settings: Record<string, string> = {}) {
  // Only what startFeed wants of one: the pool is moto's.
  const emulator = await Emulator.start();
  onTestFinished(() => emulator.stop());
  return await startFeed({
    redis: { server: redis },
    postgres: inject('postgres18'),
    emulator,
    settings: {
      COGNITO_USER_POOL_ID: moto.poolId,
      AWS_REGION: REGION,
      AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: moto.endpoint,
      AWS_ENDPOINT_URL_SQS: moto.endpoint,
      AWS_ENDPOINT_URL_CLOUDWATCH_EVENTS: moto.endpoint,
      SQS_QUEUE_URL: queueUrl,
      ...settings,
    },
  });
}

async function tell(eventName: string, detail: object, detailType = 'AWS API Call via CloudTrail'): Promise<void> {
  const { FailedEntryCount } = await events.send(
    new PutEventsCommand({
      Entries: [
        {
          Source: 'aws.cognito-idp',
          DetailType: detailType,
          Detail: JSON.stringify({
            eventVersion: '1.10',
            eventTime: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
            eventSource: 'cognito-idp.amazonaws.com',
            eventName,
            awsRegion: REGION,
            responseElements: null,
            eventID: randomUUID(),
            readOnly: false,
            ...detail,
          }),
        },
      ],
    }),
  );
  expect(FailedEntryCount ?? 0).toBe(0);
}

test('an event on the default bus, through the rule that apply makes, to the row; until destroy', async () => {
  const queue = await makeQueue();
  const feed = await feedOf(queue.url);
  expect(await commandHere(feed, eventbridgeApply)).toMatchObject({ code: 0 });
  const running = feed.run();
  await feed.scan();

  const user = { UserPoolId: moto.poolId, Username: 'ada' };
  const { User } = await moto.client.send(
    new AdminCreateUserCommand({ ...user, UserAttributes: [{ Name: 'email', Value: 'ada@example.com' }] }),
  );
  const sub = User?.Attributes?.find(({ Name }) => Name === 'sub')?.Value ?? '';
  const hidden = { userPoolId: moto.poolId, username: 'HIDDEN_DUE_TO_SECURITY_REASONS' };
  const mine = { requestParameters: hidden, additionalEventData: { sub } };
  const row = async () =>
    (await feed.query<{ email: string }>('select email from cognito.users where username = $1', ['ada']))[0];
  const context = () => feed.logged.slice(-10).join('');

  await tell('AdminCreateUser', mine);
  await until('the new row', async () => (await row()) !== undefined, context);

  const moved = [{ Name: 'email', Value: 'moved@example.org' }];
  await moto.client.send(new AdminUpdateUserAttributesCommand({ ...user, UserAttributes: moved }));
  // A self-service call: no pool in it.
  await tell('UpdateUserAttributes', {
    requestParameters: { accessToken: 'HIDDEN_DUE_TO_SECURITY_REASONS' },
    additionalEventData: { sub },
  });
  await until('the change', async () => (await row())?.email === 'moved@example.org', context);

  await moto.client.send(new AdminDeleteUserCommand(user));
  await tell('AdminDeleteUser', mine);
  await until('the delete', async () => (await row()) === undefined, context);

  // Another pool's, a failed call and a read don't pass the rule, or are skipped.
  await tell('AdminDeleteUser', { ...mine, requestParameters: { ...hidden, userPoolId: 'eu-west-1_OTHER' } });
  await tell('SignUp', { ...mine, requestParameters: { clientId: 'c' }, errorCode: 'UsernameExistsException' });
  await tell('Signup_POST', { requestParameters: null }, 'AWS Service Event via CloudTrail');
  const tag = await feed.tag();
  const { sources } = await until(
    'all events',
    async () => {
      const record = await readHints(feed.redis, tag);
      const { changed, ignored, nameless } = record.sources.sqs;
      return changed === 3 && ignored === 1 && nameless === 1 ? record : undefined;
    },
    context,
  );
  expect(sources.sqs).toMatchObject({ received: 4, doubled: 0, unreadable: 0 });
  await until('an empty queue', async () => {
    const { ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible } = await attributesOf(queue.url);
    return ApproximateNumberOfMessages === '0' && ApproximateNumberOfMessagesNotVisible === '0';
  });
  expect(feed.logged.join('')).not.toContain('@example');
  await running.stop();

  expect(await commandHere(feed, eventbridgeDestroy)).toMatchObject({ code: 0 });
  await tell('AdminCreateUser', mine);
  const { Messages } = await sqs.send(new ReceiveMessageCommand({ QueueUrl: queue.url, WaitTimeSeconds: 1 }));
  expect(Messages ?? []).toEqual([]);
});

test('apply and destroy are safe to repeat, and touch nothing of others', async () => {
  const queue = await makeQueue();
  const theirs = { Sid: 'Theirs', Effect: 'Allow', Principal: '*', Action: 'sqs:SendMessage', Resource: queue.arn };
  await sqs.send(
    new SetQueueAttributesCommand({
      QueueUrl: queue.url,
      Attributes: { Policy: JSON.stringify({ Version: '2012-10-17', Statement: [theirs] }) },
    }),
  );
  const second = await makeQueue();
  const [feed, beside] = [await feedOf(queue.url), await feedOf(second.url)];
  const name = ruleName(moto.poolId);
  const targets = async () => (await events.send(new ListTargetsByRuleCommand({ Rule: name }))).Targets ?? [];

  for (let round = 0; round < 2; round++) expect(await commandHere(feed, eventbridgeApply)).toMatchObject({ code: 0 });
  await commandHere(beside, eventbridgeApply);
  expect((await targets()).map(({ Arn }) => Arn).toSorted()).toEqual([queue.arn, second.arn].toSorted());
  const policy = JSON.parse(await policyOf(queue.url)) as { Statement: { Sid: string }[] };
  expect(policy.Statement.map(({ Sid }) => Sid)).toEqual(['Theirs', expect.stringMatching(/^CognitoFeed-/)]);
  const plan = JSON.parse((await commandHere(feed, eventbridgePlan)).stdout) as { rules: Record<string, object>[] };
  const { EventPattern = '{}', Arn } = await events.send(new DescribeRuleCommand({ Name: name }));
  expect(plan.rules[0]).toMatchObject({
    rule: { Name: name, EventPattern: JSON.parse(EventPattern), Arn },
    target: { Arn: queue.arn },
    queuePolicyStatement: policy.Statement[1],
  });

  // The rule stays while another deployment's target is on it.
  expect((await commandHere(feed, eventbridgeDestroy)).stdout).toContain('stays');
  expect((await targets()).map(({ Arn }) => Arn)).toEqual([second.arn]);
  expect(JSON.parse(await policyOf(queue.url))).toEqual({ Version: '2012-10-17', Statement: [theirs] });
  for (let round = 0; round < 2; round++)
    expect((await commandHere(beside, eventbridgeDestroy)).stdout).toContain('is gone');
  expect(await policyOf(second.url)).toBe('');
});

test('a message that can not be read stays for the dead-letter policy, and those behind it are taken', async () => {
  const dead = await makeQueue();
  const queue = await makeQueue({
    RedrivePolicy: JSON.stringify({ deadLetterTargetArn: dead.arn, maxReceiveCount: '1' }),
  });
  const feed = await feedOf(queue.url);
  feed.run();
  await feed.scan();
  const secret = 'ada.lovelace@example.com';
  await sqs.send(new SendMessageCommand({ QueueUrl: queue.url, MessageBody: `no event of ${secret}` }));
  const { User } = await moto.client.send(new AdminCreateUserCommand({ UserPoolId: moto.poolId, Username: 'behind' }));
  const sub = User?.Attributes?.find(({ Name }) => Name === 'sub')?.Value ?? '';
  const detail = { eventName: 'SignUp', eventID: randomUUID(), additionalEventData: { sub } };
  await sqs.send(
    new SendMessageCommand({
      QueueUrl: queue.url,
      MessageBody: JSON.stringify({ source: 'aws.cognito-idp', detail }),
    }),
  );
  await until('the row', async () => (await feed.query(`select from cognito.users where username = 'behind'`)).length);
  const tag = await feed.tag();
  await until(
    'both to be counted',
    async () => {
      const { received, unreadable } = (await readHints(feed.redis, tag)).sources.sqs;
      return received === 1 && unreadable === 1;
    },
    () => feed.logged.slice(-10).join(''),
  );
  // Received once, and not removed: when its visibility time-out ends, SQS moves it.
  await until('only it to be left', async () => {
    const { ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible } = await attributesOf(queue.url);
    return ApproximateNumberOfMessages === '0' && ApproximateNumberOfMessagesNotVisible === '1';
  });
  expect(feed.logged.join('')).not.toContain(secret);
});
