/**
 * One shard of a scan: a chain of pages, walked to its end. A job of queue `shards`; its batches are its children.
 */
import type { Job } from 'bullmq';
import type { Change, Upsert } from '../../shared/change.ts';
import { UserFacingError } from '../../shared/errors.ts';
import type { Known, SnapshotReader } from '../../shared/snapshot.ts';
import { diff, observe } from './diff.ts';
import { charactersOf, isFull, type Outbox } from './outbox.ts';
import { type ObservedPage, PoolFailure, type PoolReader, TokenRefused } from './pages.ts';
import type { Seen, Walked } from './seen.ts';

export interface ShardPlan {
  readonly scan: string;
  readonly timeline: string;
  readonly floor: number;
  /** Tells it from the scan's other shards. */
  readonly shard: string;
  /** null: the whole pool. */
  readonly filter: string | null;
  /** For a scan of the whole pool: when the last complete sharded scan began; null: there was none. */
  readonly shardedSince: number | null;
}

export interface ShardDoors {
  readonly reader: PoolReader;
  readonly snapshot: SnapshotReader;
  readonly outbox: Outbox;
  readonly seen: Seen;
  readonly job: Job;
}

/** With `sub ^= "0"` … `sub ^= "f"` sixteen chains cover a pool of Cognito's own subs evenly; a second digit would split nothing (reference). */
export const SHARDS: readonly { readonly shard: string; readonly filter: string }[] = [...'0123456789abcdef'].map(
  (digit) => ({
    shard: digit,
    filter: `sub ^= "${digit}"`,
  }),
);
export const WHOLE_POOL = { shard: 'all', filter: null } as const;

/** Pages between two notes of how far it has come, where nothing changes. */
const NOTE_EVERY_PAGES = 50;
/** A pool that refuses every token it has given is not tried for ever. */
const RESTARTS_MOST = 20;
const EVERY_TOKEN = 'Cognito refuses the page tokens that it gives; if it lasts, report it';

/**
 * @throws PoolFailure ends the scan; whatever else the doors throw: the shard is then taken up again where it was last noted
 */
export async function walk(plan: ShardPlan, doors: ShardDoors): Promise<Walked> {
  for (let restarts = 0; ; restarts++) {
    try {
      return await walkOnce(plan, doors);
    } catch (error) {
      if (!(error instanceof TokenRefused)) throw error;
      if (restarts >= RESTARTS_MOST) throw new PoolFailure('Cognito', { cause: new UserFacingError(EVERY_TOKEN) });
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
  let unshardable = 0;

  const flush = async () => {
    if (changes.length > 0) await outbox.send(changes, timeline, scan, job);
    // Only now: whoever takes the shard up at this token finds everything before it queued.
    await seen.note(shard, marks, token === null ? null : { token, pages, users });
    changes = [];
    characters = 0;
    marks = [];
    unnoted = 0;
  };

  let coming: Promise<ObservedPage> | null = reader.page(filter, token, 'scan');
  while (coming !== null) {
    const page: ObservedPage = await coming;
    // The next page is on its way while this one is compared.
    coming = page.token === null ? null : reader.page(filter, page.token, 'scan');
    coming?.catch(() => undefined);
    const found = await differences(page, plan, snapshot);
    if (found === null) return { ended: false, pages, users, unshardable, reason: 'its timeline has ended' };
    unshardable += found.unshardable;
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
  return { ended: true, pages, users, unshardable, reason: null };
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
  return { subs, changes, unshardable: observed.filter((one, i) => missedByShards(one, view.known[i], plan)).length };
}

/**
 * Somebody whom sharded scans do not show: his sub begins with none of their digits; or he is new to the mirror, though he was there
 * well before the last sharded scan began.
 */
function missedByShards({ sub, row }: Upsert, known: Known | undefined, { filter, shardedSince }: ShardPlan): boolean {
  if (filter !== null) return false;
  if (!/^[0-9a-f]/.test(sub)) return true;
  const isNew = known !== undefined && known.entry === null && !known.tombstoned;
  return isNew && shardedSince !== null && row.createdAt !== null && row.createdAt < shardedSince - LAG_MS;
}

/** Lists lag behind without bound; most of it is over by then. */
const LAG_MS = 10 * 60_000;
