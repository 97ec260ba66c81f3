/**
 * Looks at single users, each because of a hint. A job of queue `refresh` is one hint and all the looks that it takes. ARCHITECTURE.md, "Refresh".
 */
import { DelayedError, type Job } from 'bullmq';
import { WIRE_VERSION } from '../../shared/change.ts';
import { observationTime } from '../../shared/clock.ts';
import { classify } from '../../shared/errors.ts';
import type { MirrorTag } from '../../shared/keys.ts';
import type { Redis } from '../../shared/redis.ts';
import { readScans } from '../../shared/scan-record.ts';
import type { PoolSettings } from '../../shared/settings.ts';
import type { Known, SnapshotReader } from '../../shared/snapshot.ts';
import { storable } from '../../shared/user.ts';
import type { DeleteWindow } from './delete-window.ts';
import type { Gatherer } from './gatherer.ts';
import { type Hint, hintId, type RefreshJob, refreshJob } from './hint.ts';
import type { HintQueue } from './hint-queue.ts';
import { takeLook } from './look-spacing.ts';
import { judgeLook, LADDER_MS, LOOKS_MOST } from './look-verdict.ts';
import type { Outbox } from './outbox.ts';
import { PoolFailure, type PoolReader } from './pages.ts';
import { type Look, lookBy, prove, type Suspect } from './proof.ts';

export interface RefreshDoors {
  readonly settings: PoolSettings;
  readonly tag: MirrorTag;
  readonly redis: Redis;
  readonly reader: PoolReader;
  readonly snapshot: SnapshotReader;
  readonly outbox: Outbox;
  readonly gatherer: Gatherer;
  readonly window: DeleteWindow;
  readonly hints: HintQueue;
  /** Under which the mirror stands; null: none stands. */
  readonly timeline: () => string | null;
}

/** Nothing can be done for so long as no timeline stands or the writer has too much to do. */
const LATER_MS = 1_000;
/** Older hints are the scan's; so are older observations (rule 1). */
const MAX_AGE_MS = 30 * 60_000;

/** Puts the job off. @throws DelayedError, which tells BullMQ so */
async function putOff(job: Job, token: string, ms: number): Promise<never> {
  await job.moveToDelayed(Date.now() + ms, token);
  throw new DelayedError();
}

/**
 * One hint that nobody waits for: done when what it led to is queued.
 * @throws DelayedError where it is to be looked at again; PoolFailure
 */
export async function followHint(job: Job<RefreshJob, unknown>, token: string, doors: RefreshDoors): Promise<void> {
  const { tag, redis, outbox, gatherer, hints } = doors;
  const hint = refreshJob.parse(job.data);
  if (await isMoot(hint, doors)) return await hints.count(hint.source, { ignored: 1 });
  const timeline = doors.timeline();
  if (timeline === null || !(await outbox.hasRoom())) return await putOff(job, token, LATER_MS);
  const wait = await takeLook(redis, tag, hintId(hint));
  if (wait > 0) return await putOff(job, token, wait);

  const looked = await lookAt(hint, timeline, doors).catch((error: unknown) => {
    // A name that no filter can hold is nobody's.
    if (error instanceof PoolFailure && classify(error.cause).kind === 'aws-invalid-request') return 'refused' as const;
    throw error;
  });
  if (looked === 'refused') return await hints.count(hint.source, { ignored: 1 });
  if (looked === null) return await putOff(job, token, LATER_MS);
  const looks = hint.looks + 1;
  const verdict = judgeLook(hint, looks, looked.look, looked.known);
  if (verdict.change !== null) await gatherer.add(verdict.change, timeline);
  let found = hint.found || verdict.change !== null;
  if (verdict.next === 'again') {
    await job.updateData({ ...hint, looks, found });
    return await putOff(job, token, LADDER_MS[Math.min(looks, LOOKS_MOST - 1)] ?? LATER_MS);
  }
  if (verdict.missing !== null) {
    const { suspect, lookedAt } = verdict.missing;
    const settled = await settleSuspect(suspect, lookedAt, timeline, doors);
    if (settled.verdict === 'proved') {
      await gatherer.add({ kind: 'delete', ...suspect, observedAt: settled.observedAt }, timeline);
      found = true;
    } else if (settled.verdict === 'held') await holdBack(suspect, settled.reason, timeline, doors);
  } else if (!looked.look.shown && looked.known === null && hint.expect === 'delete') {
    // Whom the mirror holds under this username only a scan can tell.
    await hints.hurry();
  }
  await hints.count(hint.source, found ? { changed: 1 } : { unchanged: 1 });
}

/** A scan that began after the hint was given has seen everybody; a hint that has waited for half an hour is a scan's. */
async function isMoot({ at }: RefreshJob, { redis, tag }: RefreshDoors): Promise<boolean> {
  const { last } = await readScans(redis, tag);
  if (last?.complete === true && at < last.floor) return true;
  return at < (await observationTime(redis, tag)) - MAX_AGE_MS;
}

export interface Looked {
  readonly look: Look;
  readonly known: (Known & { readonly sub: string }) | null;
}

/** null: the snapshot is of another timeline by now. @throws PoolFailure */
export async function lookAt(
  hint: Pick<Hint, 'by' | 'name' | 'sub'>,
  timeline: string,
  { reader, snapshot }: Pick<RefreshDoors, 'reader' | 'snapshot'>,
): Promise<Looked | null> {
  const name = storable(hint.name);
  const look = await lookBy(reader, hint.by, name, timeline, 'refresh');
  // Where nobody was shown: in many pools the username is the sub.
  const sub = look.shown ? look.observed.sub : (hint.sub ?? name);
  const { pointer, known } = await snapshot.read([sub]);
  if (pointer?.timeline !== timeline) return null;
  const [one] = known;
  if (one === undefined) return { look, known: null };
  const another = !look.shown && hint.by === 'username' && one.entry !== null && one.entry.username !== name;
  const nobody = !look.shown && hint.by === 'username' && one.entry === null && !one.tombstoned;
  return { look, known: another || nobody ? null : { ...one, sub } };
}

export type SuspectVerdict =
  | { readonly verdict: 'proved'; readonly observedAt: number }
  | { readonly verdict: 'exists' }
  /** Left to the scan, or to an operator. The reason, in a line. */
  | { readonly verdict: 'held'; readonly reason: string };

/** The way of every missing user: guard, then proof. @throws PoolFailure */
export async function settleSuspect(
  suspect: Suspect,
  lookedAt: number,
  timeline: string,
  { settings, snapshot, window, reader }: Pick<RefreshDoors, 'settings' | 'snapshot' | 'window' | 'reader'>,
): Promise<SuspectVerdict> {
  if (!settings.confirmWithAdminGetUser)
    return { verdict: 'held', reason: 'without AdminGetUser only scans delete: two exact looks a whole scan apart' };
  const { pointer } = await snapshot.read([]);
  if (pointer?.timeline !== timeline) return { verdict: 'held', reason: 'the timeline has ended' };
  const { entries } = await snapshot.geometry(pointer.generation);
  if (!(await window.enter(suspect.sub, lookedAt, entries)))
    return { verdict: 'held', reason: 'more users missing than the delete guard allows' };
  try {
    const proof = await prove(reader, suspect);
    if (proof.verdict !== 'proved') await window.leave(suspect.sub);
    return proof;
  } catch (error) {
    await window.leave(suspect.sub);
    throw error;
  }
}

/** To be held until the next scan, which looks for itself. Where there was no scan yet, there is no floor to hold by. */
export async function holdBack(
  { sub, username }: Suspect,
  reason: string,
  timeline: string,
  { settings, tag, redis, outbox }: RefreshDoors,
): Promise<void> {
  const { current, last } = await readScans(redis, tag);
  const floor = Math.max(current?.floor ?? 0, last?.floor ?? 0);
  if (floor === 0 || !settings.confirmWithAdminGetUser) return;
  const users = [{ sub, username }];
  await outbox.askFirst({
    type: 'hold',
    v: WIRE_VERSION,
    pool: settings.poolId,
    timeline,
    scan: null,
    floor,
    reason,
    users,
  });
}
