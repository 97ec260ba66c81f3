import type pg from 'pg';
import {
  afterCommit,
  CannotFollow,
  ChangeLogReader,
  changeDetail,
  idleMs,
  type Position,
} from '../../../shared/change-log.ts';
import { backOffMs, sleep } from '../../../shared/clock.ts';
import { classify, oneLine, UserFacingError } from '../../../shared/errors.ts';
import { compareLsn, type Lsn } from '../../../shared/lsn.ts';
import { closePostgres, connectPostgres, withClient } from '../../../shared/postgres.ts';
import { checkMigrations } from '../../../shared/postgres-check.ts';
import type { PoolSettings } from '../../../shared/settings.ts';
import type { CommandContext } from '../command.ts';

const RETRY_FIRST_MS = 200;
const RETRY_MOST_MS = 5_000;

/**
 * The change log as JSON lines. Without `--follow` what is kept (after `--after`) up to the present end; with it what comes, from the present end
 * unless `--after` says otherwise.
 * @returns 0 at the end, at a signal, and when nobody reads any more
 * @throws UserFacingError where the position is ahead of the feed or behind the retention
 */
export async function tail(context: CommandContext): Promise<number> {
  const { settings, options } = context;
  const after = options['after'] as Lsn | undefined;
  if (after !== undefined && settings.pools.length > 1)
    throw new UserFacingError("--after is a position in one pool's feed: choose the pool by --pool", 2);
  const failed = new AbortController();
  const signal = AbortSignal.any([context.signal, failed.signal]);
  const tails = settings.pools.map((pool) => tailPool(pool, after, { ...context, signal }));
  for (const one of tails) one.catch(() => failed.abort());
  for (const outcome of await Promise.allSettled(tails)) if (outcome.status === 'rejected') throw outcome.reason;
  return 0;
}

async function tailPool(pool: PoolSettings, after: Lsn | undefined, context: CommandContext): Promise<void> {
  const postgres = connectPostgres({
    url: pool.databaseUrl,
    auth: pool.databaseAuth ?? 'password',
    applicationName: 'cognito-feed tail',
    max: 1,
  });
  try {
    await withClient(postgres, checkMigrations);
    await printed(postgres, pool.poolId, after, context);
  } catch (error) {
    if (error instanceof CannotFollow) throw new UserFacingError(told(error), 1, { cause: error });
    throw error;
  } finally {
    await closePostgres(postgres);
  }
}

async function printed(
  postgres: pg.Pool,
  poolId: string,
  after: Lsn | undefined,
  { options, stdout, signal, log }: CommandContext,
): Promise<void> {
  const follow = options['follow'] === true;
  const reader = new ChangeLogReader(postgres, poolId);
  let position: Position = after === undefined ? await reader.start(follow ? 'end' : 'oldest') : afterCommit(after);
  let end: Lsn | null = null;
  let empty = 0;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const page = await reader.read(position, { rowsOfReads: true });
      end ??= page.feedEnd;
      for (const change of page.changes) {
        // Without --follow, the end is where it was when we began: a busy feed must not keep us.
        if (!follow && compareLsn(change.lsn, end) > 0) return;
        stdout.write(`${JSON.stringify(changeDetail(change, true))}\n`);
        if (signal.aborted) return;
      }
      position = page.end;
      if (!follow && compareLsn(position.lsn, end) >= 0 && page.changes.length === 0) return;
      failures = 0;
      empty = page.changes.length === 0 ? empty + 1 : 0;
      if (empty > 0) await sleep(idleMs(empty - 1), signal);
    } catch (error) {
      // Who follows waits for Postgres to come back, once it has been there.
      if (!follow || end === null || error instanceof CannotFollow || classify(error).action !== 'retry') throw error;
      if (failures === 0) log.warn({ err: error }, `waiting: ${oneLine(error)}`);
      await sleep(backOffMs(failures++, RETRY_FIRST_MS, RETRY_MOST_MS), signal);
    }
  }
}

function told({ reason, message, lsn }: CannotFollow): string {
  if (reason === 'behind') return `${message}. What is left begins with --after ${lsn}`;
  if (reason === 'ahead') return `${message}. Copy what you keep of the pool anew, then go on with --after ${lsn}`;
  if (reason === 'other-timeline') return `${message}. Copy what you keep of the pool anew`;
  return message;
}
