/**
 * Hot lanes: short filtered walks, every HOT_INTERVAL, over the users who are about to change. Thus a sign-up and its confirmation arrive within
 * seconds with no set-up at AWS. ARCHITECTURE.md, "Refresh".
 */
import { observationTime, sleep } from '../../shared/clock.ts';
import { exactly } from '../../shared/cognito.ts';
import { oneLine } from '../../shared/errors.ts';
import { recordLane } from '../../shared/hint-record.ts';
import { keys, type MirrorTag } from '../../shared/keys.ts';
import type { Logger } from '../../shared/log.ts';
import type { Redis } from '../../shared/redis.ts';
import type { SnapshotReader } from '../../shared/snapshot.ts';
import { diff, observe } from './diff.ts';
import type { Hint } from './hint.ts';
import type { HintQueue } from './hint-queue.ts';
import { Lease } from './lease.ts';
import type { Outbox } from './outbox.ts';
import { type ObservedPage, PoolFailure, type PoolReader, TokenRefused } from './pages.ts';

/** 180 users. More are an import or years of abandoned sign-ups, and a scan's business. */
export const LANE_PAGES = 3;
/** A lane that was given up is tried again after twice as many rounds each time, at most so much later. */
const GIVEN_UP_MOST_MS = 5 * 60_000;
/** How long it is remembered who was in a lane, at least: longer than a replica takes to take over. */
const KEPT_LEAST_MS = 60_000;

export interface LaneDoors {
  readonly tag: MirrorTag;
  readonly redis: Redis;
  readonly reader: PoolReader;
  readonly snapshot: SnapshotReader;
  readonly outbox: Outbox;
  readonly hints: HintQueue;
  readonly log: Logger;
  readonly timeline: () => string | null;
}

/** Walks all lanes until the signal, while this replica has the lease. */
export async function walkLanes(
  statuses: readonly string[],
  intervalMs: number,
  doors: LaneDoors,
  signal: AbortSignal,
): Promise<void> {
  const lease = new Lease(doors.redis, keys.laneLease(doors.tag));
  let ours = false;
  const holding = async () => {
    while (!signal.aborted) {
      ours = await lease.take().catch(() => false);
      await sleep(Math.min(1_000, intervalMs), signal);
    }
  };
  await Promise.all([holding(), ...statuses.map((status) => walkLane(status, intervalMs, doors, () => ours, signal))]);
  await lease.release().catch(() => undefined);
}

async function walkLane(
  status: string,
  intervalMs: number,
  doors: LaneDoors,
  ours: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  let givenUp = 0;
  let trouble: string | null = null;
  while (!signal.aborted) {
    let pauseMs = ours() ? intervalMs : Math.min(intervalMs, 500);
    try {
      const timeline = doors.timeline();
      if (ours() && timeline !== null && (await doors.outbox.hasRoom())) {
        givenUp = (await walkOnce(status, intervalMs, timeline, doors)) ? 0 : givenUp + 1;
        if (givenUp > 0) pauseMs = Math.max(intervalMs, Math.min(GIVEN_UP_MOST_MS, intervalMs * 2 ** (givenUp - 1)));
      }
      trouble = null;
    } catch (error) {
      if (signal.aborted) break;
      const line = `could not walk the hot lane ${status}: ${oneLine(error instanceof PoolFailure ? error.cause : error)}`;
      if (line !== trouble) doors.log.warn({ err: error }, line);
      trouble = line;
      // Whatever it is, it would be told the same again at once: a filter that is refused, a pool that throttles.
      pauseMs = Math.max(intervalMs, Math.min(GIVEN_UP_MOST_MS, 10 * intervalMs));
    }
    await sleep(pauseMs, signal);
  }
}

/** @returns false where the lane was given up for this round */
async function walkOnce(status: string, intervalMs: number, timeline: string, doors: LaneDoors): Promise<boolean> {
  const { redis, tag, reader } = doors;
  const keptMs = Math.max(KEPT_LEAST_MS, 10 * intervalMs);
  const subs = new Set<string>();
  let token: string | null = null;
  let givenUp: string | null = null;
  for (let pages = 0; pages === 0 || token !== null; pages++) {
    if (pages === LANE_PAGES) {
      givenUp = `it holds more than ${LANE_PAGES} pages of users`;
      break;
    }
    const page: ObservedPage | null = await pageOf(reader, status, token);
    if (page === null) {
      givenUp = 'its continuation was refused';
      break;
    }
    for (const sub of await sendChanges(page, timeline, doors)) subs.add(sub);
    token = page.token;
  }
  const at = await observationTime(redis, tag);
  await recordLane(redis, tag, { status, at, givenUp, users: subs.size }, Math.max(keptMs, 2 * GIVEN_UP_MOST_MS));
  const key = keys.lane(tag, status);
  if (givenUp !== null) {
    // Whoever is not among these may be on the pages that were not read.
    await redis.client.del(key);
    return false;
  }
  const before = await redis.client.smembers(key);
  const left = before.filter((sub) => !subs.has(sub));
  // Before the members are noted: whoever takes over now gives these hints again, rather than never.
  await doors.hints.add(left.map(leaverOf));
  const pipeline = redis.client.multi().del(key);
  if (subs.size > 0) pipeline.sadd(key, ...subs).pexpire(key, keptMs);
  await pipeline.exec();
  return true;
}

const leaverOf = (sub: string): Hint => ({
  by: 'sub',
  name: sub,
  sub,
  expect: 'change',
  since: null,
  source: 'lane',
});

async function pageOf(reader: PoolReader, status: string, token: string | null): Promise<ObservedPage | null> {
  try {
    return await reader.page(exactly('cognito:user_status', status), token, 'refresh');
  } catch (error) {
    if (error instanceof TokenRefused) return null;
    throw error;
  }
}

/** @returns the subs of a page, its differences queued */
async function sendChanges(page: ObservedPage, timeline: string, doors: LaneDoors): Promise<string[]> {
  const { snapshot, outbox, hints } = doors;
  const observed = page.users.map((user) => observe(user, timeline, page.observedAt));
  const subs = observed.map(({ sub }) => sub);
  const { pointer, known } = await snapshot.read(subs);
  if (pointer?.timeline !== timeline) return subs;
  const changed = observed.filter((one, i) => {
    const entry = known[i];
    return entry !== undefined && diff(one, entry) === 'changed';
  });
  if (changed.length > 0) {
    await outbox.sendFirst(changed, timeline, null);
    await hints.count('lane', { received: changed.length, changed: changed.length });
  }
  return subs;
}
