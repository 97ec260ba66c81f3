/**
 * "Incremental equals rebuilt": while snapshot and slot agree, the snapshot is what a resync would build from the mirror, whatever way it came there.
 */
import { compareHistories } from '../../services/writer/agreement.ts';
import { TOMBSTONE_MS } from '../../services/writer/snapshot-store.ts';
import { type Fingerprint, fingerprintOf } from '../../shared/fingerprint.ts';
import { type Row, standInSub, subOf } from '../../shared/user.ts';
import { Violation } from './scheduler.ts';
import type { World } from './world.ts';

/** Tombstones about to expire may be gone on one side. */
const CLOCKS_APART_MS = 60_000;

const fingerprints = new WeakMap<Row, { readonly timeline: string; readonly fingerprint: Fingerprint }>();

function fingerprint(row: Row, timeline: string): Fingerprint {
  const known = fingerprints.get(row);
  if (known?.timeline === timeline) return known.fingerprint;
  const made = fingerprintOf(row, timeline);
  fingerprints.set(row, { timeline, fingerprint: made });
  return made;
}

/** As the services' own code sees it. */
export function agreed({ postgres, redis }: World): boolean {
  const { mirrorId, ...slot } = postgres.database.slot;
  const { pointer, generations } = redis.held;
  // A pointer without its generation is none.
  const known = pointer !== null && generations.has(pointer.generation) ? pointer : null;
  const mirrorReplaced = mirrorId !== postgres.database.mirrorId;
  const now = Math.max(redis.held.clock, redis.time);
  return compareHistories({ ...slot, mirrorReplaced }, { pointer: known, now }).state === 'agreed';
}

/** @throws Violation */
export function checkSnapshot(world: World): void {
  const { database } = world.postgres;
  const { slot } = database;
  const { pointer, generations } = world.redis.held;
  const generation = generations.get(pointer?.generation ?? '');
  if (!agreed(world) || generation === undefined || world.editedByHand()) return;
  const { entries, tombstones } = generation;
  for (const row of database.mirror.values()) {
    const sub = subOf(row);
    // Of two rows with one sub, made by hand, one is known by a stand-in.
    const own = entries.get(sub);
    const entry = own?.username === row.username ? own : entries.get(standInSub(row.username));
    if (entry?.username !== row.username) throw new Violation(`the snapshot lacks ${sub} as ${row.username}`);
    if (entry.fingerprint !== fingerprint(row, slot.timeline))
      throw new Violation(`the snapshot's fingerprint of ${sub} is not the mirror's`);
  }
  if (entries.size !== database.mirror.size) throw new Violation('the snapshot knows users whom the mirror has not');
  for (const [sub, { deletedAt }] of database.tombstones) {
    if (deletedAt > world.scheduler.now - TOMBSTONE_MS + CLOCKS_APART_MS && !tombstones.has(sub))
      throw new Violation(`the snapshot lacks the tombstone of ${sub}`);
  }
}
