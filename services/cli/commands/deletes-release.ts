import { randomUUID } from 'node:crypto';
import type { Queue } from 'bullmq';
import type pg from 'pg';
import { sleep } from '../../../shared/clock.ts';
import { UserFacingError } from '../../../shared/errors.ts';
import { closeQueue, createQueue, jobOptions } from '../../../shared/queue.ts';
import type { Redis } from '../../../shared/redis.ts';
import type { PoolSettings } from '../../../shared/settings.ts';
import { RELEASE_PIECE, RELEASES, type ReleaseJob, type ReleaseResult, releaseResult } from '../../poller/release.ts';
import type { CommandContext, Output } from '../command.ts';
import { joined, reachEverything, standingMirror, withPostgres } from '../join.ts';
import { progressBar } from '../progress.ts';

interface Held {
  readonly sub: string;
  readonly username: string;
}

interface Tally {
  deleted: number;
  existing: number;
  held: number;
  readonly reasons: Map<string, number>;
}

const LOOK_EVERY_MS = 100;
/** A scan that begins in between makes the proofs of a piece too old to count: then they are made anew. */
const TRIES_MOST = 5;
/** Tries of the poller's after which Cognito is given up on. */
const FAILURES_MOST = 2;
const RESULT_KEPT_SECONDS = 600;

/** Has the poller prove each held delete again, some hundreds at a time, and says what became of them. */
export async function deletesRelease(context: CommandContext): Promise<number> {
  const { settings, stdout, stderr } = context;
  const redis = await reachEverything(settings);
  try {
    await joined(context, 'deletes release', async (signal) => {
      for (const pool of settings.pools)
        await withPostgres(pool, (postgres) => releasePool(pool, postgres, redis, signal, stdout, stderr));
    });
    return 0;
  } finally {
    redis.client.disconnect();
  }
}

async function releasePool(
  pool: PoolSettings,
  postgres: pg.Pool,
  redis: Redis,
  signal: AbortSignal,
  stdout: Output,
  stderr: Output,
): Promise<void> {
  const { poolId } = pool;
  const tag = await standingMirror(pool, postgres, redis, signal);
  const queue = createQueue<ReleaseJob, ReleaseResult>(RELEASES, tag, redis.client);
  const bar = progressBar(stderr, poolId);
  const tally: Tally = { deleted: 0, existing: 0, held: 0, reasons: new Map() };
  try {
    const { rows } = await postgres.query<{ total: number; now: string }>(
      'select count(*)::int as total, clock_timestamp()::text as now from cognito_feed.held_deletes where pool = $1',
      [poolId],
    );
    const { total = 0, now = '' } = rows[0] ?? {};
    let done = 0;
    for (let after = ''; ; ) {
      const piece = await postgres.query<Held>(
        `select sub, username from cognito_feed.held_deletes where pool = $1 and sub > $2 and held_at <= $3::timestamptz
         order by sub limit ${RELEASE_PIECE}`,
        [poolId, after, now],
      );
      const last = piece.rows.at(-1);
      if (last === undefined) break;
      await releasePiece(piece.rows, queue, postgres, poolId, tally, signal);
      after = last.sub;
      done += piece.rows.length;
      bar.show(done, total);
    }
  } finally {
    bar.stop();
    await closeQueue(queue);
  }
  const { deleted, existing, held, reasons } = tally;
  stdout.write(`${poolId}: ${deleted} deleted, ${existing} turned out to exist, ${held} still held\n`);
  for (const [reason, count] of reasons) stdout.write(`${poolId}: ${count} still held: ${reason}\n`);
}

async function releasePiece(
  piece: readonly Held[],
  queue: Queue<ReleaseJob, ReleaseResult>,
  postgres: pg.Pool,
  pool: string,
  tally: Tally,
  signal: AbortSignal,
): Promise<void> {
  let left = piece;
  for (let tries = 1; left.length > 0; tries++) {
    const result = await proved(left, queue, signal);
    const subs = left.map(({ sub }) => sub);
    const { rows } = await postgres.query<Held>(
      'select sub, username from cognito_feed.held_deletes where pool = $1 and sub = any($2)',
      [pool, subs],
    );
    // A running scan may have settled some of them itself: the tombstones say who is gone.
    const dead = await postgres.query<{ count: number }>(
      `select count(*)::int as count from cognito_feed.tombstones t where pool = $1 and sub = any($2)
         and not exists (select from cognito_feed.held_deletes h where h.pool = t.pool and h.sub = t.sub)`,
      [pool, subs],
    );
    const deleted = dead.rows[0]?.count ?? 0;
    const unprovable = Object.values(result.held).reduce((sum, count) => sum + count, 0);
    tally.deleted += deleted;
    tally.existing += left.length - rows.length - deleted;
    // What was found but not applied (a scan began in between) is still held, and will be found again.
    if (rows.length <= unprovable || tries >= TRIES_MOST) {
      tally.held += rows.length;
      for (const [reason, count] of Object.entries(result.held))
        tally.reasons.set(reason, (tally.reasons.get(reason) ?? 0) + count);
      return;
    }
    left = rows;
  }
}

/** Gives the job to whichever poller takes it, and waits until its changes are applied. */
async function proved(
  users: readonly Held[],
  queue: Queue<ReleaseJob, ReleaseResult>,
  signal: AbortSignal,
): Promise<ReleaseResult> {
  for (;;) {
    const id = randomUUID();
    await queue.add(
      'release',
      { users: [...users] },
      { ...jobOptions(id), removeOnComplete: { age: RESULT_KEPT_SECONDS } },
    );
    for (;;) {
      signal.throwIfAborted();
      const job = await queue.getJob(id);
      // A Redis that lost it: once more.
      if (job === undefined) break;
      if (job.finishedOn !== undefined && job.failedReason === undefined) return releaseResult.parse(job.returnvalue);
      if (job.attemptsMade >= FAILURES_MOST && job.failedReason !== undefined) {
        await job.remove().catch(() => undefined);
        throw new UserFacingError(`the poller could not prove them: ${job.failedReason}`);
      }
      await sleep(LOOK_EVERY_MS, signal);
    }
  }
}
