/**
 * A refresh that somebody waits for: its job is the parent of its batch, so that its result is what the writer made of it.
 */
import type { Job } from 'bullmq';
import { z } from 'zod';
import { sleep } from '../../shared/clock.ts';
import { oneLine } from '../../shared/errors.ts';
import { awaitChildren } from './children.ts';
import { type RefreshJob, refreshJob } from './hint.ts';
import { judgeLook } from './look-verdict.ts';
import { PoolFailure } from './pages.ts';
import { holdBack, lookAt, type RefreshDoors, settleSuspect } from './refresh.ts';

const answer = z.strictObject({
  outcome: z.enum(['inserted', 'updated', 'unchanged', 'deleted', 'not found', 'held', 'rejected', 'failed']),
  /** In a line, without values; null where nothing is to be explained. */
  reason: z.string().nullable(),
});
export type RefreshAnswer = z.infer<typeof answer>;
export const parseAnswer = (value: unknown): RefreshAnswer => answer.parse(value);

/** What the writer says of a batch; a hold says only whether it is held. */
const applied = z.object({
  inserted: z.number().default(0),
  updated: z.number().default(0),
  deleted: z.number().default(0),
  dropped: z.number().default(0),
  rejected: z.number().default(0),
  held: z.union([z.number(), z.boolean()]).default(0),
});

/** A scan that begins between a look and its batch makes the batch count no more: then it is looked again. That can't go on for ever. */
const LOOKS_MOST = 8;
const TIMELINE_PATIENCE_MS = 30_000;
const LOOK_EVERY_MS = 100;

const say = (outcome: RefreshAnswer['outcome'], reason: string | null = null): RefreshAnswer => ({ outcome, reason });

/**
 * @throws WaitingChildrenError while the writer has it
 */
export async function answerHint(
  job: Job<RefreshJob, unknown>,
  token: string,
  doors: RefreshDoors,
  signal: AbortSignal,
): Promise<RefreshAnswer> {
  let hint = refreshJob.parse(job.data);
  for (;;) {
    if (hint.sent !== null) {
      await awaitChildren(job, token);
      const made = whatBecame(await job.getChildrenValues(), hint.sent);
      if (made !== null) return await counted(hint, made, doors);
    }
    if (hint.looks >= LOOKS_MOST)
      return say('failed', 'the answer could not be applied: scans began again and again, or Redis lost it; ask again');
    const timeline = await standing(doors, signal);
    if (timeline === null) return say('failed', 'the mirror and its snapshot do not agree yet; ask again');
    try {
      const next = await look(job, { ...hint, looks: hint.looks + 1, sent: null }, timeline, doors);
      if ('outcome' in next) return await counted(hint, next, doors);
      hint = next;
    } catch (error) {
      if (error instanceof PoolFailure && !signal.aborted) return say('failed', oneLine(error.cause));
      throw error;
    }
  }
}

async function counted(hint: RefreshJob, made: RefreshAnswer, { hints }: RefreshDoors): Promise<RefreshAnswer> {
  const changed = made.outcome === 'inserted' || made.outcome === 'updated' || hint.sent?.what === 'delete';
  await hints.count(hint.source, changed ? { changed: 1 } : { unchanged: 1 });
  return made;
}

/** One look: the answer, or the job's data with what it has sent. */
async function look(
  job: Job<RefreshJob, unknown>,
  hint: RefreshJob,
  timeline: string,
  doors: RefreshDoors,
): Promise<RefreshAnswer | RefreshJob> {
  const looked = await lookAt(hint, timeline, doors);
  if (looked === null) return hint;
  const { change, missing } = judgeLook({ expect: 'nothing', since: null }, 1, looked.look, looked.known);
  const send = async (what: 'change' | 'delete', id: string | null) => {
    const sent = { ...hint, sent: id === null ? null : { job: id, what } };
    await job.updateData(sent);
    return sent;
  };
  if (change !== null) {
    const [id = null] = await doors.outbox.sendFirst([change], timeline, job);
    return await send('change', id);
  }
  if (missing === null) {
    const gone = looked.known?.tombstoned === true;
    if (gone) return say('deleted', 'it was deleted before');
    return say(looked.look.shown ? 'unchanged' : 'not found');
  }
  const { suspect, lookedAt } = missing;
  const settled = await settleSuspect(suspect, lookedAt, timeline, doors);
  if (settled.verdict === 'exists')
    return say('unchanged', 'ListUsers does not show it, but AdminGetUser does: it is left as it is');
  if (settled.verdict === 'held') {
    await holdBack(suspect, settled.reason, timeline, doors);
    return say('held', settled.reason);
  }
  const remove = { kind: 'delete', ...suspect, observedAt: settled.observedAt } as const;
  const [id = null] = await doors.outbox.sendFirst([remove], timeline, job);
  return await send('delete', id);
}

/** null: what was sent came too late to count, or Redis has lost it. */
function whatBecame(values: Readonly<Record<string, unknown>>, sent: NonNullable<RefreshJob['sent']>) {
  const [, value] = Object.entries(values).find(([key]) => key.endsWith(`:${sent.job}`)) ?? [];
  const parsed = applied.safeParse(value);
  if (!parsed.success) return null;
  const { inserted, updated, deleted, dropped, rejected, held } = parsed.data;
  if (dropped > 0) return null;
  if (rejected > 0) return say('rejected', 'Postgres refuses the row: see cognito_feed.rejects');
  if (Number(held) > 0) return say('held', 'more usernames replaced than the delete guard allows');
  // Somebody has seen him since: look again.
  if (sent.what === 'delete') return deleted > 0 ? say('deleted') : null;
  if (updated > 0 || (inserted > 0 && deleted > 0)) return say('updated');
  return say(inserted > 0 ? 'inserted' : 'unchanged');
}

async function standing({ timeline }: RefreshDoors, signal: AbortSignal): Promise<string | null> {
  for (const until = performance.now() + TIMELINE_PATIENCE_MS; performance.now() < until; ) {
    signal.throwIfAborted();
    const stands = timeline();
    if (stands !== null) return stands;
    await sleep(LOOK_EVERY_MS, signal);
  }
  return null;
}
