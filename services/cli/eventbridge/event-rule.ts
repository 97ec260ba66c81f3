/**
 * The rule that brings CloudTrail's events of one pool into an SQS queue, its target, and what the queue's policy needs for it. Pure.
 * https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sqs-permissions
 */
import { hash } from 'node:crypto';
import type { QueueAddress } from '../../../shared/sqs-address.ts';
import { CLOUDTRAIL_SOURCE, DETAIL_TYPES, EVENT_NAMES, EVENT_SOURCE } from '../../poller/cloudtrail-event.ts';

/** Events of AWS's services arrive on this bus and no other. */
export const BUS = 'default';

function partitionOf(region: string): string {
  if (region.startsWith('cn-')) return 'aws-cn';
  return region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
}

export const queueArn = (region: string, { account, name }: QueueAddress): string =>
  `arn:${partitionOf(region)}:sqs:${region}:${account ?? 'ACCOUNT'}:${name}`;

export const ruleArn = (region: string, account: string | null, name: string): string =>
  `arn:${partitionOf(region)}:events:${region}:${account ?? 'ACCOUNT'}:rule/${name}`;

/** At most 64 characters of `.-_A-Za-z0-9` (API reference, PutRule, Name). */
export const ruleName = (pool: string): string => `cognito-feed-${pool.replaceAll(/[^.\w-]/g, '-')}`.slice(0, 64);

const mark = (text: string): string => hash('sha256', text, 'hex').slice(0, 12);

/** A rule may have several targets, of several deployments: each is known by its queue. */
export const targetId = (arn: string): string => `cognito-feed-${mark(arn)}`;

export interface Target {
  readonly Id: string;
  readonly Arn: string;
  readonly SqsParameters?: { readonly MessageGroupId: string };
}

export const targetOf = (arn: string, pool: string): Target => ({
  Id: targetId(arn),
  Arn: arn,
  ...(arn.endsWith('.fifo') ? { SqsParameters: { MessageGroupId: pool } } : {}),
});

/**
 * What self-service calls lack is the pool: they must pass too, and the poller looks whose they are.
 */
export function eventPattern(pool: string): object {
  return {
    source: [EVENT_SOURCE],
    'detail-type': [...DETAIL_TYPES],
    detail: {
      eventSource: [CLOUDTRAIL_SOURCE],
      eventName: [...EVENT_NAMES],
      $or: [
        { requestParameters: { userPoolId: [pool] } },
        { additionalEventData: { userPoolId: [pool] } },
        { requestParameters: { userPoolId: [{ exists: false }] } },
      ],
    },
  };
}

export interface Statement {
  readonly Sid?: string;
  readonly [key: string]: unknown;
}

/** Lets this one rule send to this one queue. */
export function statementOf(rule: string, queue: string): Statement {
  return {
    Sid: `CognitoFeed-${mark(rule)}`,
    Effect: 'Allow',
    Principal: { Service: 'events.amazonaws.com' },
    Action: 'sqs:SendMessage',
    Resource: queue,
    Condition: { ArnEquals: { 'aws:SourceArn': rule } },
  };
}

interface Policy {
  readonly Version?: string;
  readonly Statement?: Statement | readonly Statement[];
}

const statementsOf = (policy: Policy): readonly Statement[] =>
  policy.Statement === undefined
    ? []
    : Array.isArray(policy.Statement)
      ? policy.Statement
      : [policy.Statement as Statement];

const parsed = (policy: string): Policy => (policy === '' ? {} : (JSON.parse(policy) as Policy));

/** The policy with the statement, in place of one of the same Sid; all others stay. @throws SyntaxError where the policy is no JSON */
export function withStatement(policy: string, statement: Statement): string {
  const before = parsed(policy);
  const others = statementsOf(before).filter(({ Sid }) => Sid !== statement.Sid);
  return JSON.stringify({ Version: '2012-10-17', ...before, Statement: [...others, statement] });
}

/** The policy without the statement; '' where no other is left. */
export function withoutStatement(policy: string, sid: string | undefined): string {
  const before = parsed(policy);
  const others = statementsOf(before).filter(({ Sid }) => Sid !== sid);
  return others.length === 0 ? '' : JSON.stringify({ ...before, Statement: others });
}

/** Whether two policies say the same, however they are written. */
export const samePolicy = (a: string, b: string): boolean =>
  (a === '') === (b === '') &&
  (a === '' || JSON.stringify(sorted(JSON.parse(a))) === JSON.stringify(sorted(JSON.parse(b))));

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}
