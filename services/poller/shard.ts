/**
 * One shard of a scan: a chain of pages, walked to its end. A job of queue `shards`; its batches are its children.
 */
import type { Job } from 'bullmq';
import type { Change } from '../../shared/change.ts';
import type { SnapshotReader } from '../../shared/snapshot.ts';
import { diff, observe } from './diff.ts';
import { charactersOf, isFull, type Outbox } from './outbox.ts';
import { type ObservedPage, type PoolReader, TokenRefused } from './pages.ts';
import type { Seen, Walked } from './seen.ts';

export interface ShardPlan {
  readonly scan: string;
  readonly timeline: string;
  readonly floor: number;
  /** Tells it from the scan's other shards. */
  readonly shard: string;
  /** null: the whole pool. */
  readonly filter: string | null;
}

export interface ShardDoors {
  readonly reader: PoolReader;
  readonly snapshot: SnapshotReader;
  readonly outbox: Outbox;
  readonly seen: Seen;
  readonly job: Job;
}

/** Pages between two notes of how far it has come, where nothing changes. */
const NOTE_EVERY_PAGES = 50;
/** A pool that refuses every token it has given is not tried for ever. */
const RESTARTS_MOST = 20;

/**
 * @throws what the doors throw; the shard is then taken up again where it was last noted
 */
export async function walk(plan: ShardPlan, doors: ShardDoors): Promise<Walked> {
  for (let restarts = 0; ; restarts++) {
    try {
      return await walkOnce(plan, doors);
    } catch (error) {
      if (!(error instanceof TokenRefused) || restarts >= RESTARTS_MOST) throw error;
      await doors.seen.forgetProgress(plan.shard);
    }
  }
}

async function walkOnce(plan: ShardPlan, { reader, snapshot, outbox, seen, job }: ShardDoors): Promise<Walked> {
  const { shard, filter, timeline, scan } = plan;
  const from = await seen.progress(shard);
  let token = from?.token ?? null;
  let pages = from?.pages ?? 0;
  let users = from?.users ?? 0;
  let changes: Change[] = [];
  let characters = 0;
  let marks: string[] = [];
  let unnoted = 0;

  const flush = async () => {
    if (changes.length > 0) await outbox.send(changes, timeline, scan, job);
    // Only now: whoever takes the shard up at this token finds everything before it queued.
    await seen.note(shard, marks, token === null ? null : { token, pages, users });
    changes = [];
    characters = 0;
    marks = [];
    unnoted = 0;
  };

  for (;;) {
    const page = await reader.page(filter, token, 'scan');
    const found = await differences(page, plan, snapshot);
    if (found === null) return { ended: false, pages, users, reason: 'its timeline has ended' };
    pages++;
    users += page.users.length;
    unnoted++;
    for (const change of found.changes) {
      changes.push(change);
      characters += charactersOf(change);
    }
    marks.push(...found.subs);
    token = page.token;
    if (token === null) break;
    if (isFull(changes.length, characters) || unnoted >= NOTE_EVERY_PAGES) await flush();
  }
  await flush();
  return { ended: true, pages, users, reason: null };
}

/** null: the snapshot is of another timeline by now. */
async function differences(page: ObservedPage, plan: ShardPlan, snapshot: SnapshotReader) {
  const observed = page.users.map((user) => observe(user, plan.timeline, page.observedAt));
  const subs = observed.map(({ sub }) => sub);
  const view = await snapshot.read(subs);
  if (view.pointer?.timeline !== plan.timeline) return null;
  const changes = observed.filter((one, i) => {
    const known = view.known[i];
    return known !== undefined && diff(one, known) === 'changed';
  });
  return { subs, changes };
}
