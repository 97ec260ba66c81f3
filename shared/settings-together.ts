/** What is wrong with settings that are right each by itself: missing for this command, or in each other's way. Pure. */

import type { PoolSettings, Settings } from './settings.ts';
import type { Env } from './settings-source.ts';

/** What a command can't do without. What it does not need may be absent. */
export interface Needs {
  readonly pool?: boolean;
  readonly database?: boolean;
  readonly redis?: boolean;
  /** The change log: `tail`, and `publisher`. */
  readonly changeLog?: boolean;
  /** Somewhere to deliver to: `publisher`. */
  readonly target?: boolean;
  /** The queue of CloudTrail events: `eventbridge`. */
  readonly eventQueue?: boolean;
  /** Delivers where a target is set: `run`. */
  readonly delivers?: boolean;
  /** Asks Cognito, and so needs the keys where a foreign server holds them. */
  readonly keys?: boolean;
}

interface Notes {
  readonly problems: string[];
  readonly warnings: string[];
}

/** AWS's quota of ListUsers and ListUsersInGroup together; it can't be raised. */
const LIST_USERS_QUOTA = 30;

const REGION_IN_POOL_ID = /^([a-z]{2,3}(?:-[a-z]+)+-\d{1,2})_/;

/** AWS_REGION, else the Region that a pool's id begins with, else AWS_DEFAULT_REGION, else null: the SDK's own chain. */
export function regionOf(poolId: string, awsRegion: string | null, env: Env): string | null {
  return awsRegion ?? REGION_IN_POOL_ID.exec(poolId)?.[1] ?? (env['AWS_DEFAULT_REGION'] || null);
}

/**
 * Those that `--pool` names; all where it names none. A pool that a foreign server names is known only later, and stays.
 */
export function choosePools(
  pools: readonly PoolSettings[],
  id: string | undefined,
  problems: string[],
): readonly PoolSettings[] {
  if (id === undefined) return pools;
  const chosen = pools.filter((pool) => pool.poolId === id);
  if (chosen.length > 0) return chosen;
  const unread = pools.filter((pool) => pool.poolId === '' && pool.foreignServer !== null);
  if (unread.length > 0) return unread;
  const known = pools.map((pool) => pool.poolId).filter((poolId) => poolId !== '');
  problems.push(
    `--pool is ${JSON.stringify(id)}, none of the pools in the settings: ${known.join(', ') || 'there is none'}`,
  );
  return pools;
}

type Service = Pick<Settings, 'redisUrl' | 'requestsPerSecond'>;

export function checkTogether(
  service: Service,
  all: readonly PoolSettings[],
  chosen: readonly PoolSettings[],
  needs: Needs,
  notes: Notes,
): void {
  const { problems, warnings } = notes;
  if (needs.redis && service.redisUrl === '') problems.push('REDIS_URL is missing: redis://host:6379, for example');
  for (const pool of chosen) {
    if (needs.database && pool.databaseUrl === '') {
      problems.push(`DATABASE_URL is missing${of(pool)}: postgres://user@host:5432/name, for example`);
    }
    checkSource(pool, needs, problems);
    checkDelivery(pool, needs, problems);
    if (needs.eventQueue && pool.sqsQueueUrl === null)
      problems.push(
        `SQS_QUEUE_URL is missing${of(pool)}: https://sqs.eu-west-1.amazonaws.com/123456789012/cognito-events, for example`,
      );
    warnOf(pool, warnings);
  }
  checkApart(all, problems);
  if (service.requestsPerSecond > LIST_USERS_QUOTA) {
    warnings.push(
      `REQUESTS_PER_SECOND is ${service.requestsPerSecond}, above AWS's quota of ${LIST_USERS_QUOTA} for an account in a Region: ` +
        'expect throttling, of other callers too',
    );
  }
}

const of = (pool: PoolSettings): string => (pool.poolId === '' ? '' : ` for pool ${pool.poolId}`);

function checkSource(pool: PoolSettings, needs: Needs, problems: string[]): void {
  if (pool.foreignServer !== null && pool.poolId !== '') {
    problems.push('COGNITO_USER_POOL_ID and COGNITO_FOREIGN_SERVER are both set: the one is instead of the other');
  } else if (needs.pool && pool.poolId === '' && pool.foreignServer === null) {
    problems.push('COGNITO_USER_POOL_ID is missing: the id of the Cognito user pool, eu-west-1_Example for example');
  } else if (needs.pool && pool.foreignServer !== null && !needs.database) {
    problems.push('COGNITO_FOREIGN_SERVER is for commands that have DATABASE_URL; this one needs COGNITO_USER_POOL_ID');
  }
}

function checkDelivery(pool: PoolSettings, needs: Needs, problems: string[]): void {
  const hasTarget = pool.eventBusName !== null || pool.webhooks.length > 0;
  if (needs.target && !hasTarget)
    problems.push(`EVENT_BUS_NAME and WEBHOOK_URL are missing${of(pool)}: one of them, to deliver to`);
  if (pool.changeRetentionMs === null && (needs.changeLog || (needs.delivers && hasTarget))) {
    problems.push(
      `CHANGE_RETENTION is empty${of(pool)}: without a change log there is nothing to read; a duration, 7d for example`,
    );
  }
}

function warnOf(pool: PoolSettings, warnings: string[]): void {
  const own = REGION_IN_POOL_ID.exec(pool.poolId)?.[1];
  if (own !== undefined && pool.region !== own)
    warnings.push(`AWS_REGION is ${pool.region}, but pool ${pool.poolId} is in ${own} by its id`);
  if (!pool.confirmWithAdminGetUser) {
    warnings.push(
      `CONFIRM_WITH_ADMIN_GET_USER is off${of(pool)}: a delete rests on two looks at ListUsers, and is right only if they are`,
    );
  }
  if (pool.deleteGuardCount === null && pool.deleteGuardPercent === null) {
    warnings.push(`DELETE_GUARD_COUNT and DELETE_GUARD_PERCENT are empty${of(pool)}: no number of deletes is held`);
  }
}

/** Two pools can't share a mirror, nor one pool two mirrors in one database: its slot is one row there. */
export function checkApart(pools: readonly PoolSettings[], problems: string[]): void {
  const owners = new Map<string, string>();
  const slots = new Set<string>();
  for (const { poolId, foreignServer, databaseUrl, targetTable } of pools) {
    // Unknown to a poller, whose part of the settings has no database.
    if (databaseUrl === '' || (poolId === '' && foreignServer === null)) continue;
    const database = databaseOf(databaseUrl);
    const target = JSON.stringify([database, targetTable.schema, targetTable.name]);
    const name = poolId || `of ${foreignServer}`;
    const slot = JSON.stringify([database, name]);
    if (slots.has(slot)) problems.push(`pools: ${name} stands there twice with the same database`);
    else if (owners.has(target)) {
      problems.push(
        `pools: ${owners.get(target)} and ${name} have the same TARGET_TABLE in the same database; each needs its own`,
      );
    }
    slots.add(slot);
    owners.set(target, name);
  }
}

/** Host, port and name, whoever connects and however. */
function databaseOf(url: string): string {
  const [, address = '', path = '', query = ''] =
    /^[^/]*\/\/(?:[^@/]*@)?([^/?]*)(?:\/([^?#]*))?(?:\?([^#]*))?/.exec(url) ?? [];
  const parameters = new URLSearchParams(query);
  const host = (parameters.get('host') ?? address.replace(/:\d*$/, '')) || 'localhost';
  const port = (parameters.get('port') ?? /:(\d+)$/.exec(address)?.[1]) || '5432';
  return JSON.stringify([host.toLowerCase(), port, path]);
}
