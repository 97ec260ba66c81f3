import type { PoolSettings } from '../../../shared/settings.ts';
import { connectQueuePolicy, type QueuePolicyDoor } from '../../../shared/sqs.ts';
import { queueAddress } from '../../../shared/sqs-address.ts';
import type { Command, CommandContext, Output } from '../command.ts';
import {
  BUS,
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
} from '../eventbridge/event-rule.ts';
import { connectEventRules, type EventRules } from '../eventbridge/rules.ts';

const description = (pool: string): string => `cognito-feed: changes of user pool ${pool}, by CloudTrail`;

/** Prints what `apply` would make. Asks AWS nothing. */
export const eventbridgePlan: Command = async ({ settings, stdout }) => {
  const plans = settings.pools.map((pool) => {
    const address = queueAddress(pool.sqsQueueUrl ?? '');
    const region = pool.region ?? address.region ?? 'REGION';
    const queue = queueArn(address.region ?? region, address);
    const name = ruleName(pool.poolId);
    const rule = ruleArn(region, address.account, name);
    return {
      pool: pool.poolId,
      rule: { Name: name, EventBusName: BUS, State: 'ENABLED', EventPattern: eventPattern(pool.poolId), Arn: rule },
      target: targetOf(queue, pool.poolId),
      queuePolicyStatement: statementOf(rule, queue),
    };
  });
  stdout.write(`${JSON.stringify({ rules: plans }, null, 2)}\n`);
  return 0;
};

/** Makes rule, queue policy and target, or makes them what they should be; safe to repeat. */
export const eventbridgeApply: Command = (context) =>
  forEachPool(context, async (pool, rules, queue, stdout) => {
    const name = ruleName(pool.poolId);
    const before = await queue.read();
    const rule = await rules.putRule(name, eventPattern(pool.poolId), description(pool.poolId));
    const policy = withStatement(before.policy, statementOf(rule, before.arn));
    // Before the target: an event that the queue refuses is lost after a day of tries.
    if (!samePolicy(before.policy, policy)) await queue.write(policy);
    await rules.putTarget(name, targetOf(before.arn, pool.poolId));
    stdout.write(`${pool.poolId}: rule ${name} sends to ${before.arn}\n`);
  });

/** Removes them again, and nothing that somebody else has made: other targets of the rule, other statements of the policy. */
export const eventbridgeDestroy: Command = (context) =>
  forEachPool(context, async (pool, rules, queue, stdout) => {
    const name = ruleName(pool.poolId);
    const { arn, policy } = await queue.read();
    await rules.removeTarget(name, targetId(arn));
    const gone = await rules.deleteRule(name);
    const [, , , , account = ''] = arn.split(':');
    const rule = ruleArn(pool.region ?? regionIn(arn), account, name);
    const without = withoutStatement(policy, statementOf(rule, arn).Sid);
    if (!samePolicy(policy, without)) await queue.write(without);
    stdout.write(`${pool.poolId}: ${gone ? `rule ${name} is gone` : `rule ${name} has other targets and stays`}\n`);
  });

const regionIn = (arn: string): string => arn.split(':')[3] ?? '';

async function forEachPool(
  { settings, stdout }: CommandContext,
  work: (pool: PoolSettings, rules: EventRules, queue: QueuePolicyDoor, stdout: Output) => Promise<void>,
): Promise<number> {
  for (const pool of settings.pools) {
    const url = pool.sqsQueueUrl ?? '';
    const { region, endpoints } = pool;
    const rules = connectEventRules(region ?? queueAddress(url).region, endpoints.events);
    const queue = connectQueuePolicy({ url, region, endpoint: endpoints.sqs });
    try {
      await work(pool, rules, queue, stdout);
    } finally {
      rules.close();
      queue.close();
    }
  }
  return 0;
}
