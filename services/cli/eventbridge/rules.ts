/** The door to EventBridge's rules. A failure of part of a request is a failure. */
import {
  CloudWatchEventsClient,
  DeleteRuleCommand,
  ListTargetsByRuleCommand,
  PutRuleCommand,
  PutTargetsCommand,
  RemoveTargetsCommand,
} from '@aws-sdk/client-cloudwatch-events';
import { UserFacingError } from '../../../shared/errors.ts';
import { BUS, type Target } from './event-rule.ts';

export interface EventRules {
  /** Makes the rule, or makes it what it should be. @returns its ARN */
  putRule(name: string, pattern: object, description: string): Promise<string>;
  putTarget(rule: string, target: Target): Promise<void>;
  /** Does nothing where there is none. */
  removeTarget(rule: string, id: string): Promise<void>;
  /** Deletes the rule unless it has targets left. @returns whether it is gone */
  deleteRule(rule: string): Promise<boolean>;
  close(): void;
}

export function connectEventRules(region: string | null, endpoint: string | null): EventRules {
  const client = new CloudWatchEventsClient({
    ...(region === null ? {} : { region }),
    ...(endpoint === null ? {} : { endpoint }),
    requestHandler: { connectionTimeout: 5_000, requestTimeout: 15_000, throwOnRequestTimeout: true },
  });
  return {
    async putRule(name, pattern, description) {
      const { RuleArn = '' } = await client.send(
        new PutRuleCommand({
          Name: name,
          EventBusName: BUS,
          EventPattern: JSON.stringify(pattern),
          State: 'ENABLED',
          Description: description,
        }),
      );
      return RuleArn;
    },
    async putTarget(rule, target) {
      const { Id, Arn, SqsParameters } = target;
      const answer = await client.send(
        new PutTargetsCommand({
          Rule: rule,
          EventBusName: BUS,
          Targets: [{ Id, Arn, ...(SqsParameters === undefined ? {} : { SqsParameters }) }],
        }),
      );
      refuseFailures('the target', answer);
    },
    async removeTarget(rule, id) {
      try {
        const answer = await client.send(new RemoveTargetsCommand({ Rule: rule, EventBusName: BUS, Ids: [id] }));
        refuseFailures("the target's removal", answer);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    },
    async deleteRule(rule) {
      try {
        const { Targets = [] } = await client.send(new ListTargetsByRuleCommand({ Rule: rule, EventBusName: BUS }));
        if (Targets.length > 0) return false;
        await client.send(new DeleteRuleCommand({ Name: rule, EventBusName: BUS }));
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      return true;
    },
    close: () => client.destroy(),
  };
}

const isNotFound = (error: unknown): boolean => error instanceof Error && error.name === 'ResourceNotFoundException';

interface Partial {
  readonly FailedEntryCount?: number | undefined;
  readonly FailedEntries?: readonly { readonly ErrorCode?: string | undefined }[] | undefined;
}

/** HTTP 200 can hide them. */
function refuseFailures(what: string, { FailedEntryCount = 0, FailedEntries = [] }: Partial): void {
  if (FailedEntryCount > 0 || FailedEntries.length > 0)
    throw new UserFacingError(`EventBridge refused ${what}: ${FailedEntries[0]?.ErrorCode ?? 'it does not say why'}`);
}
