/**
 * Do snapshot and slot tell one history? ARCHITECTURE.md, "Agreement" and "Resync", has the argument for each step here.
 */

import { fingerprintOf } from '../../shared/fingerprint.ts';
import { LSN_ZERO, laterLsn } from '../../shared/lsn.ts';
import type { View } from '../../shared/snapshot.ts';
import type { Row } from '../../shared/user.ts';
import { standInSub } from '../../shared/user.ts';
import { decodeLearned, type Learned } from './learned.ts';
import type { Ledger, Slot } from './ledger.ts';
import type { SnapshotStore } from './snapshot-store.ts';

export type Agreement =
  | { readonly state: 'agreed' }
  /** The snapshot lacks the last commit; `last_batch` has it. */
  | { readonly state: 'behind' }
  /** A new timeline has begun and its snapshot has not been built. */
  | { readonly state: 'owed' }
  /** One of the two has gone back in time or elsewhere. */
  | { readonly state: 'lost'; readonly reason: string };

/**
 * Pure.
 * @param view read after the slot: a floor later than its clock was given by a clock that has been lost, and no scan could begin before it
 */
export function compareHistories(slot: Slot, { pointer, now }: Pick<View, 'pointer' | 'now'>): Agreement {
  if (slot.resyncReason !== null && !slot.mirrorReplaced) return { state: 'owed' };
  if (slot.mirrorReplaced) return { state: 'lost', reason: 'mirror replaced' };
  if (pointer === null) return { state: 'lost', reason: 'no snapshot' };
  if (pointer.timeline !== slot.timeline) return { state: 'lost', reason: 'another timeline' };
  if (slot.floor > now) return { state: 'lost', reason: 'the floor lies in the future' };
  if (pointer.commit === slot.commit) return { state: 'agreed' };
  if (pointer.commit === slot.previousCommit && slot.lastBatch !== null) return { state: 'behind' };
  return { state: 'lost', reason: 'another history' };
}

/** Why a timeline is to end, though pointer and slot agree. */
export interface Occasion {
  readonly reason: string;
  readonly timeline: string;
}

export interface AgreementDoors {
  readonly ledger: Ledger;
  readonly snapshot: SnapshotStore;
  /** The next observation time: Redis's clock, which never goes back. Milliseconds. */
  readonly clock: () => Promise<number>;
  readonly newId: () => string;
  /** Waits a little before looking again, while somebody else rebuilds. */
  readonly wait: () => Promise<void>;
  /** Told when a new timeline begins and when its snapshot stands. */
  readonly onResync: (event: 'begun' | 'done', reason: string, users: number) => void;
}

/**
 * Looks, and does what is to be done until both agree.
 * @param occasion begins a new timeline even where they agree, unless somebody has begun another than `timeline` since
 * @throws what the doors throw; safe to call again
 */
export async function agree(doors: AgreementDoors, occasion?: Occasion): Promise<void> {
  for (;;) {
    const agreement = await look(doors, occasion);
    if (agreement.state === 'agreed') return;
    if (agreement.state === 'owed') {
      if (!(await rebuild(doors))) await doors.wait();
      continue;
    }
    await settle(doors, occasion);
  }
}

async function look({ ledger, snapshot }: AgreementDoors, wanted: Occasion | undefined): Promise<Agreement> {
  const slot = await ledger.slot();
  return judged(slot, await snapshot.read([]), wanted);
}

function judged(slot: Slot, view: View, wanted: Occasion | undefined): Agreement {
  const agreement = compareHistories(slot, view);
  const asked = agreement.state === 'agreed' && wanted !== undefined && wanted.timeline === slot.timeline;
  return asked ? { state: 'lost', reason: wanted.reason } : agreement;
}

/** Redo, or step A of a resync: both under the slot's lock, after looking again. */
async function settle(doors: AgreementDoors, wanted: Occasion | undefined): Promise<void> {
  const { ledger, snapshot } = doors;
  const reason = await ledger.transaction(async (tx) => {
    const slot = await tx.lock();
    const view = await snapshot.read([]);
    const agreement = judged(slot, view, wanted);
    if (agreement.state === 'behind' && slot.previousCommit !== null && slot.lastBatch !== null) {
      await snapshot.advance(slot.timeline, slot.previousCommit, slot.commit, slot.lsn, decodeLearned(slot.lastBatch));
    }
    if (agreement.state !== 'lost') return null;
    // Its own start, by a clock that may have been lost with the rest: the new timeline's floor may lie below the old one's.
    const floor = await doors.clock();
    const lsn = laterLsn(slot.lsn, view.pointer?.lsn ?? LSN_ZERO);
    await tx.newTimeline(doors.newId(), doors.newId(), lsn, floor, agreement.reason);
    return agreement.reason;
  });
  if (reason !== null) doors.onResync('begun', reason, 0);
}

/**
 * Steps B and C: the snapshot anew from the mirror, into a generation of its own.
 * @returns false where another writer is at it
 */
async function rebuild(doors: AgreementDoors): Promise<boolean> {
  const { ledger, snapshot } = doors;
  return await ledger.rebuild(async (source) => {
    const { slot } = source;
    if (slot.resyncReason === null || slot.mirrorReplaced) return;
    const generation = await snapshot.newGeneration();
    let users = 0;
    for await (const rows of source.rows()) {
      await loadRows(snapshot, generation, rows, slot);
      users += rows.length;
    }
    for await (const tombstones of source.tombstones()) {
      await snapshot.load(
        generation,
        tombstones.map(({ sub, deletedAt }): Learned => ({ op: 'delete', sub, deletedAt })),
      );
    }
    const switched = await ledger.transaction(async (tx) => {
      const now = await tx.lock();
      if (now.commit !== slot.commit || now.resyncReason === null || now.mirrorReplaced) return false;
      await tx.resynced(users);
      // Before the commit: if that fails, the slot still says that a snapshot is owed, and another one is built.
      await snapshot.point({ timeline: slot.timeline, generation, commit: slot.commit, lsn: slot.lsn });
      return true;
    });
    if (!switched) return;
    doors.onResync('done', slot.resyncReason, users);
    // Still under the advisory lock: nobody else is building a generation now.
    await snapshot.collect(generation);
  });
}

/**
 * The entries of some mirrored rows; all get the time at which the resync began (its floor). Of two rows with one sub, made by hand, the second is
 * known by a stand-in: the scan will miss it.
 */
async function loadRows(
  snapshot: SnapshotStore,
  generation: string,
  rows: readonly { readonly row: Row; readonly sub: string }[],
  slot: Slot,
): Promise<void> {
  const put = (sub: string, row: Row): Learned => ({
    op: 'put',
    sub,
    entry: { observedAt: slot.floor, fingerprint: fingerprintOf(row, slot.timeline), username: row.username },
  });
  const doubled = await snapshot.load(
    generation,
    rows.map(({ sub, row }) => put(sub, row)),
  );
  const again = doubled.map((place) => rows[place]).filter((one) => one !== undefined);
  if (again.length === 0) return;
  await snapshot.load(
    generation,
    again.map(({ row }) => put(standInSub(row.username), row)),
  );
}
