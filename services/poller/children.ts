/**
 * The children of a job, and whether Redis still has all that this run of it has added. A Redis that comes back without what it last wrote
 * (`appendfsync everysec`, a failover) forgets some, the connection is made again in silence, and a job that then waits for its children waits for
 * too few: what they carried would never be applied, and nobody would know.
 *
 * Only the run that added them can tell. Another run goes by what is in Redis alone, where a mark (a token noted, a step) never outlives the children
 * that were added before it. So a job first leaves its mark and then asks. What is forgotten between the answer and the next command stays unknown.
 */
import { type Job, WaitingChildrenError } from 'bullmq';

/** Redis has forgotten children that this run of the job had added. */
export class ChildrenForgotten extends Error {
  override readonly name = 'ChildrenForgotten';
}

/** By the run's own object of the job: ids. */
const added = new WeakMap<Job, Set<string>>();

export function noteChild(parent: Job, id: string): void {
  const ids = added.get(parent);
  if (ids === undefined) added.set(parent, new Set([id]));
  else ids.add(id);
}

/** @throws ChildrenForgotten */
async function expectChildren(job: Job): Promise<void> {
  const wanted = added.get(job)?.size ?? 0;
  if (wanted === 0) return;
  const { processed = 0, unprocessed = 0, ignored = 0, failed = 0 } = await job.getDependenciesCount();
  const kept = processed + unprocessed + ignored + failed;
  if (kept >= wanted) return;
  // Said once: its owner notes that it is not complete, and then waits for those that are left.
  added.delete(job);
  throw new ChildrenForgotten(`Redis has forgotten ${wanted - kept} of its jobs`);
}

/**
 * Until its children are done.
 * @throws WaitingChildrenError, which tells BullMQ so: the job comes back when they are; ChildrenForgotten
 */
export async function awaitChildren(job: Job, token: string): Promise<void> {
  await expectChildren(job);
  if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError();
  await expectChildren(job);
}
