/**
 * Held deletes that an operator releases: a job of queue `releases` with some of them. The poller proves each again, whatever the guard says, and
 * sends to the writer what it finds: who is gone is deleted, who exists is seen, which ends his being held.
 */
import type { Job } from 'bullmq';
import { z } from 'zod';
import type { Change, Delete } from '../../shared/change.ts';
import type { CognitoUser } from '../../shared/user.ts';
import { awaitChildren } from './children.ts';
import { observe } from './diff.ts';
import type { Look, Proof, Suspect } from './proof.ts';
import { childrenOf } from './scan.ts';

export const RELEASES = 'releases';
/** Users in one job: at ten requests a second it takes half a minute. */
export const RELEASE_PIECE = 200;

const suspect = z.strictObject({ sub: z.string().min(1), username: z.string() });
const findings = z.strictObject({
  existing: z.number(),
  /** Of those whom nobody can prove: how many for which reason. */
  held: z.record(z.string(), z.number()),
});

export const releaseJob = z.strictObject({
  users: z.array(suspect).min(1),
  /** Set when all have been proved: what is left is to wait for the writer. */
  found: findings.optional(),
});
export type ReleaseJob = z.infer<typeof releaseJob>;

export const releaseResult = z.strictObject({ ...findings.shape, deleted: z.number() });
export type ReleaseResult = z.infer<typeof releaseResult>;

export interface ReleaseDoors {
  /** Under which the mirror stands. @throws where none does: the job comes again */
  readonly timeline: () => Promise<string>;
  readonly look: (suspect: Suspect, timeline: string) => Promise<Look>;
  /** null: AdminGetUser is not to be asked, and a second exact look has to do for a proof. */
  readonly prove: ((suspect: Suspect) => Promise<Proof>) | null;
  readonly send: (changes: readonly Change[], timeline: string, parent: Job) => Promise<void>;
}

/** @throws WaitingChildrenError while the writer is at it; PoolFailure */
export async function release(
  job: Job<ReleaseJob, ReleaseResult>,
  token: string,
  doors: ReleaseDoors,
): Promise<ReleaseResult> {
  const { users, found } = releaseJob.parse(job.data);
  if (found === undefined) {
    const timeline = await doors.timeline();
    const { changes, ...rest } = await proveAll(users, timeline, doors);
    if (changes.length > 0) await doors.send(changes, timeline, job);
    await job.updateData({ users, found: rest });
  }
  await awaitChildren(job, token);
  const { sum } = await childrenOf(job);
  return { ...(releaseJob.parse(job.data).found ?? { existing: 0, held: {} }), deleted: sum('deleted') };
}

async function proveAll(users: readonly Suspect[], timeline: string, doors: ReleaseDoors) {
  const changes: Change[] = [];
  const held: Record<string, number> = {};
  let existing = 0;
  const exists = (user: CognitoUser, observedAt: number) => changes.push(observe(user, timeline, observedAt));
  const gone = (one: Suspect, observedAt: number) =>
    changes.push({ kind: 'delete', ...one, observedAt } satisfies Delete);

  for (const one of users) {
    const look = await doors.look(one, timeline);
    if (look.shown) {
      existing++;
      changes.push(look.observed);
      continue;
    }
    if (doors.prove === null) {
      const again = await doors.look(one, timeline);
      if (!again.shown) gone(one, again.observedAt);
      else {
        existing++;
        changes.push(again.observed);
      }
      continue;
    }
    const proof = await doors.prove(one);
    if (proof.verdict === 'held') held[proof.reason] = (held[proof.reason] ?? 0) + 1;
    else if (proof.verdict === 'exists') {
      existing++;
      exists(proof.user, proof.observedAt);
    } else {
      gone(one, proof.observedAt);
      // The other half of a username that was replaced; the delete goes first.
      if (proof.holder !== null) exists(proof.holder, proof.observedAt);
    }
  }
  return { changes, existing, held };
}
