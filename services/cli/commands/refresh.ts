import type { Queue } from 'bullmq';
import type pg from 'pg';
import { sleep } from '../../../shared/clock.ts';
import { UserFacingError } from '../../../shared/errors.ts';
import type { MirrorTag } from '../../../shared/keys.ts';
import { quoteTable } from '../../../shared/postgres.ts';
import { closeQueue } from '../../../shared/queue.ts';
import type { Redis } from '../../../shared/redis.ts';
import type { PoolSettings } from '../../../shared/settings.ts';
import { standInSub, storable } from '../../../shared/user.ts';
import { type Hint, LONGEST_NAME, type RefreshJob } from '../../poller/hint.ts';
import { HintQueue } from '../../poller/hint-queue.ts';
import { parseAnswer, type RefreshAnswer } from '../../poller/refresh-answer.ts';
import { refreshQueue } from '../../poller/refreshing.ts';
import type { CommandContext, Output } from '../command.ts';
import { joined, reachEverything, standingMirror, withPostgres } from '../join.ts';

const LOOK_EVERY_MS = 50;
/** Without any answer for so long, none is waited for any more. */
const PATIENCE_MS = 90_000;
/** Users whose answers are waited for at a time. */
const AT_ONCE = 100;

/** What leaves the mirror as the pool is, as far as anybody can tell now. */
const WELL: ReadonlySet<RefreshAnswer['outcome']> = new Set([
  'inserted',
  'updated',
  'unchanged',
  'deleted',
  'not found',
]);

interface Asked {
  readonly by: 'sub' | 'username';
  readonly name: string;
}

/**
 * Re-reads users now, and waits until what was found is applied.
 * @returns 0; 1 where one of them is held, rejected or could not be read
 */
export async function refresh(context: CommandContext): Promise<number> {
  const { settings, options, stdout } = context;
  const asked = [...named('username', options['username']), ...named('sub', options['sub'])];
  if (asked.length === 0) throw new UserFacingError('whom? give --username or --sub, each as often as you like', 2);
  if (asked.some(({ name }) => name === '' || name.length > LONGEST_NAME))
    throw new UserFacingError(`a username or sub has 1 to ${LONGEST_NAME} characters`, 2);
  const redis = await reachEverything(settings);
  try {
    const well = await joined(
      context,
      'refresh',
      (signal) => Promise.all(settings.pools.map((pool) => refreshPool(pool, asked, redis, signal, stdout))),
      { conducts: false },
    );
    return well.every((one) => one) ? 0 : 1;
  } finally {
    redis.client.disconnect();
  }
}

function named(by: Asked['by'], names: unknown): Asked[] {
  const list = Array.isArray(names) ? (names as string[]) : [];
  return [...new Set(list)].map((name) => ({ by, name }));
}

async function refreshPool(
  pool: PoolSettings,
  asked: readonly Asked[],
  redis: Redis,
  signal: AbortSignal,
  stdout: Output,
): Promise<boolean> {
  return await withPostgres(pool, async (postgres) => {
    const tag = await standingMirror(pool, postgres, redis, signal);
    const queue = refreshQueue(tag, redis);
    let well = true;
    try {
      for (let at = 0; at < asked.length; at += AT_ONCE) {
        const some = asked.slice(at, at + AT_ONCE);
        const answers = await answersOf(some, pool, postgres, tag, queue, redis, signal);
        answers.forEach(({ outcome, reason }, i) => {
          const { by, name } = some[i] as Asked;
          stdout.write(`${pool.poolId}: ${by} ${name}: ${outcome}${reason === null ? '' : ` (${reason})`}\n`);
          well &&= WELL.has(outcome);
        });
      }
      return well;
    } finally {
      await closeQueue(queue);
    }
  });
}

async function answersOf(
  asked: readonly Asked[],
  pool: PoolSettings,
  postgres: pg.Pool,
  tag: MirrorTag,
  queue: Queue<RefreshJob, unknown, string>,
  redis: Redis,
  signal: AbortSignal,
): Promise<RefreshAnswer[]> {
  const hints = new HintQueue({ redis, tag, refreshes: queue, pollIntervalMs: pool.pollIntervalMs });
  const subs = await subsUnder(asked, pool, postgres);
  const ids: string[] = [];
  for (const { by, name } of asked) {
    const sub = by === 'sub' ? name : (subs.get(storable(name)) ?? null);
    const hint: Hint = { by, name, sub, expect: 'nothing', since: null, source: 'cli' };
    ids.push(await hints.ask(hint));
  }
  const answers = new Map<string, RefreshAnswer>();
  let lastAnswer = performance.now();
  while (answers.size < ids.length) {
    signal.throwIfAborted();
    for (const id of ids.filter((one) => !answers.has(one))) {
      const answer = await answerOf(queue, id);
      if (answer === null) continue;
      answers.set(id, answer);
      lastAnswer = performance.now();
    }
    if (performance.now() - lastAnswer > PATIENCE_MS) break;
    await sleep(LOOK_EVERY_MS, signal);
  }
  return ids.map((id) => answers.get(id) ?? { outcome: 'failed', reason: 'no answer came in time' });
}

async function answerOf(queue: Queue<RefreshJob, unknown, string>, id: string): Promise<RefreshAnswer | null> {
  const job = await queue.getJob(id);
  if (job === undefined) return { outcome: 'failed', reason: 'Redis has lost the question; ask again' };
  return job.finishedOn === undefined ? null : parseAnswer(job.returnvalue);
}

/** Whom the mirror holds under these usernames. */
async function subsUnder(
  asked: readonly Asked[],
  { targetTable }: PoolSettings,
  postgres: pg.Pool,
): Promise<ReadonlyMap<string, string>> {
  const usernames = asked.filter(({ by }) => by === 'username').map(({ name }) => storable(name));
  if (usernames.length === 0) return new Map();
  const { rows } = await postgres.query<{ username: string; sub: string | null }>(
    `select username, cognito_feed.sub_of(attributes) as sub from ${quoteTable(targetTable)} where username = any($1)`,
    [usernames],
  );
  return new Map(rows.map(({ username, sub }) => [username, sub ?? standInSub(username)]));
}
