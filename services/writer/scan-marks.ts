/**
 * What a scan asks of the writer besides its batches: to begin, to be confirmed, and to hold deletes back. Each is safe to repeat.
 */
import type { Begin, Hold, Keepalive } from '../../shared/change.ts';
import { compareHistories } from './agreement.ts';
import type { Ledger, LedgerTransaction, Slot } from './ledger.ts';
import type { SnapshotStore } from './snapshot-store.ts';

export interface Begun {
  /** false: the timeline has ended, or a later scan has begun. */
  readonly begun: boolean;
}

export interface KeptAlive {
  readonly kept: boolean;
  readonly asOf: number | null;
  readonly resyncedAt: number | null;
}

export interface HeldBack {
  readonly held: boolean;
}

const stands = (slot: Slot, timeline: string): boolean =>
  slot.timeline === timeline && slot.resyncReason === null && !slot.mirrorReplaced;

async function locked<T>(ledger: Ledger, work: (tx: LedgerTransaction, slot: Slot) => Promise<T>): Promise<T> {
  return await ledger.transaction(async (tx) => work(tx, await tx.lock()));
}

/** Raises the floor to the scan's start. A scan whose floor is below the slot's has been overtaken. */
export function begin(ledger: Ledger, { timeline, floor }: Begin): Promise<Begun> {
  return locked(ledger, async (tx, slot) => {
    if (!stands(slot, timeline) || floor < slot.floor) return { begun: false };
    if (floor > slot.floor) await tx.raiseFloor(floor);
    return { begun: true };
  });
}

/**
 * Moves `as_of`: every batch of the scan has been applied, and nothing began after it. Slot and snapshot must agree: a database restored from a base
 * that was taken while the scan was under way has its timeline and its floor, but not its batches.
 */
export function keepalive(
  ledger: Ledger,
  snapshot: SnapshotStore,
  { timeline, floor, summary }: Keepalive,
): Promise<KeptAlive> {
  return locked(ledger, async (tx, slot) => {
    const { resyncedAt } = slot;
    const { state } = compareHistories(slot, await snapshot.read([]));
    if (!stands(slot, timeline) || floor !== slot.floor || state !== 'agreed')
      return { kept: false, asOf: slot.asOf, resyncedAt };
    await tx.keepalive(floor, summary);
    return { kept: true, asOf: Math.max(slot.asOf ?? 0, floor), resyncedAt };
  });
}

export function hold(ledger: Ledger, { timeline, floor, users, reason }: Hold): Promise<HeldBack> {
  return locked(ledger, async (tx, slot) => {
    if (!stands(slot, timeline) || floor !== slot.floor) return { held: false };
    await tx.hold(users, reason, floor);
    return { held: true };
  });
}
