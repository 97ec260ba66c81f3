/** What deserves a look, one line each, without values. Pure. */
import type { Pointer } from '../../../shared/snapshot.ts';
import type { RedisFacts } from './redis-facts.ts';
import type { SlotFacts, SlotHistory } from './slot-facts.ts';

/** Below this no mirror is called stale, however short its interval. */
const STALE_SECONDS = 60;

/** How far the snapshot is from the slot; null: they agree. */
export type Disagreement = 'behind' | 'no snapshot' | 'another history' | 'owed' | 'mirror replaced' | 'mirror missing';

/** By the same rules as the writer's agreement: timeline and commit id must be equal. */
export function disagreement(slot: SlotHistory, pointer: Pointer | null): Disagreement | null {
  if (slot.mirror === 'missing') return 'mirror missing';
  if (slot.mirror === 'replaced') return 'mirror replaced';
  if (slot.resyncReason !== null) return 'owed';
  if (pointer === null) return 'no snapshot';
  if (pointer.timeline !== slot.timeline) return 'another history';
  if (pointer.commit === slot.commit) return null;
  return pointer.commit === slot.previousCommit ? 'behind' : 'another history';
}

const DISAGREEMENTS: Readonly<Record<Disagreement, string>> = {
  behind: 'the snapshot is one commit behind the mirror: a writer stopped in between; the next one goes on from there',
  'no snapshot': 'there is no snapshot in this Redis: a writer rebuilds it from the mirror',
  'another history': 'snapshot and mirror tell different histories: a writer resyncs before it applies anything',
  owed: 'a resync is under way: nothing is applied until its snapshot stands',
  'mirror replaced': 'the mirror was truncated or made anew behind the back of the feed: a writer resyncs',
  'mirror missing': 'the mirror does not exist: run cognito-feed migrate',
};

export function warningsOf(
  slot: SlotFacts,
  redis: RedisFacts | null,
  differs: Disagreement | null,
  pollIntervalMs: number,
): string[] {
  const warnings: string[] = [];
  if (redis?.writer === false) warnings.push('no writer announces this mirror: start cognito-feed writer, or run');
  if (differs !== null) warnings.push(DISAGREEMENTS[differs]);
  const most = stalenessLimit(slot, pollIntervalMs);
  if (slot.stalenessSeconds !== null && slot.stalenessSeconds > most) {
    warnings.push(`the mirror is stale: no scan that began in the last ${Math.round(most)} s has been applied`);
  }
  if (redis?.lastScan?.complete === false)
    warnings.push(`the last scan was incomplete: ${redis.lastScan.reason ?? 'it was cut short'}`);
  for (const { status, givenUp } of redis?.lanes ?? []) {
    if (givenUp !== null)
      warnings.push(`the hot lane ${status} is given up for now: ${givenUp}; its users wait for the scan`);
  }
  if (slot.heldDeletes > 0) {
    warnings.push(
      `${count(slot.heldDeletes, 'delete is', 'deletes are')} held: cognito-feed deletes list says whom and why`,
    );
  }
  if (slot.rejects > 0) {
    warnings.push(
      `${count(slot.rejects, 'row stands', 'rows stand')} rejected by Postgres: see cognito_feed.rejects for why`,
    );
  }
  if (redis !== null && redis.eviction !== null) warnings.push(redis.eviction);
  if (slot.history === null) warnings.push('this role may not read cognito_feed.slots: timeline is unknown');
  if (slot.publishers === null)
    warnings.push('this role may not read cognito_feed.subscriptions: publishers are unknown');
  return warnings;
}

/**
 * In good order `as_of` is at most two scans and an interval old: it says when the last one began, and it stands until the next one has been
 * applied. Past twice that something is wrong.
 */
function stalenessLimit({ lastScanSeconds }: SlotFacts, pollIntervalMs: number): number {
  return Math.max(STALE_SECONDS, 2 * (2 * (lastScanSeconds ?? 0) + pollIntervalMs / 1000));
}

const count = (number: number, one: string, more: string): string => `${number} ${number === 1 ? one : more}`;
