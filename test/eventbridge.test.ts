/** `eventbridge` against answers that no well-meaning emulator gives. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { runCli } from '../services/cli/cli.ts';
import { Shutdown } from '../shared/shutdown.ts';

const QUEUE = 'arn:aws:sqs:eu-west-1:123456789012:events';
const RULE = 'arn:aws:events:eu-west-1:123456789012:rule/r';

/** Answers each operation by the table; remembers which were asked. */
async function aws(answers: Readonly<Record<string, object>>): Promise<{ endpoint: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const operation = String(request.headers['x-amz-target']).split('.').at(-1) ?? '';
    asked.push(operation);
    request.resume();
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' });
    response.end(JSON.stringify(answers[operation] ?? {}));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

async function run(endpoint: string, ...argv: string[]) {
  const output = { stdout: '', stderr: '' };
  const to = (name: keyof typeof output) => ({
    write(text: string) {
      output[name] += text;
    },
  });
  const code = await runCli({
    argv: ['eventbridge', ...argv],
    env: {
      COGNITO_USER_POOL_ID: 'eu-west-1_Example',
      ...(endpoint === '' ? {} : { AWS_ENDPOINT_URL: endpoint, SQS_QUEUE_URL: `${endpoint}/123456789012/events` }),
      LOG_FORMAT: 'json',
    },
    stdout: to('stdout'),
    stderr: to('stderr'),
    shutdown: new Shutdown({ on: () => undefined, exit: () => undefined }),
  });
  return { code, ...output };
}

process.env['AWS_ACCESS_KEY_ID'] ??= 'emulated';
process.env['AWS_SECRET_ACCESS_KEY'] ??= 'emulated';

test('a target that EventBridge refuses in an answer of 200 is a failure', async () => {
  const { endpoint, asked } = await aws({
    GetQueueAttributes: { Attributes: { QueueArn: QUEUE } },
    PutRule: { RuleArn: RULE },
    PutTargets: {
      FailedEntryCount: 1,
      FailedEntries: [{ TargetId: 't', ErrorCode: 'LimitExceededException', ErrorMessage: 'something private' }],
    },
  });
  const { code, stdout, stderr } = await run(endpoint, 'apply');
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toBe('cognito-feed: EventBridge refused the target: LimitExceededException\n');
  // The queue lets the rule in before the rule sends anything.
  expect(asked).toEqual(['GetQueueAttributes', 'PutRule', 'SetQueueAttributes', 'PutTargets']);
});

test('a target that is not removed is a failure, and its rule stays', async () => {
  const { endpoint, asked } = await aws({
    GetQueueAttributes: { Attributes: { QueueArn: QUEUE } },
    RemoveTargets: { FailedEntryCount: 1, FailedEntries: [{ ErrorCode: 'ConcurrentModificationException' }] },
  });
  expect(await run(endpoint, 'destroy')).toMatchObject({
    code: 1,
    stderr: "cognito-feed: EventBridge refused the target's removal: ConcurrentModificationException\n",
  });
  expect(asked).toEqual(['GetQueueAttributes', 'RemoveTargets']);
});

test('plan asks AWS nothing', async () => {
  const { endpoint, asked } = await aws({});
  const { code, stdout } = await run(endpoint, 'plan');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    rules: [{ pool: 'eu-west-1_Example', target: { Arn: QUEUE }, rule: { Name: 'cognito-feed-eu-west-1_Example' } }],
  });
  expect(asked).toEqual([]);
});

test('without a queue each of them exits 2 before anything connects', async () => {
  for (const name of ['plan', 'apply', 'destroy'])
    expect(await run('', name)).toMatchObject({ code: 2, stderr: expect.stringContaining('SQS_QUEUE_URL is missing') });
});
