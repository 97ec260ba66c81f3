/**
 * One batch, from the queue to the snapshot. ARCHITECTURE.md, "A batch, step by step", has the argument; the numbers here are its steps.
 */
import { type Batch, type Change, usernameOf } from '../../shared/change.ts';
import { UserFacingError } from '../../shared/errors.ts';
import type { GuardLimits } from '../../shared/guard.ts';
import { nextLsn } from '../../shared/lsn.ts';
import type { Known, Pointer } from '../../shared/snapshot.ts';
import type { Occasion } from './agreement.ts';
import { belowFloor, type Candidate, changesOf, type Mirrored, type Plan, plan, rounds, sieve } from './decide.ts';
import { encodeLearned } from './learned.ts';
import { type Commit, type Ledger, type LedgerTransaction, RowRefused, type Slot, type Staged } from './ledger.ts';
import type { SnapshotStore } from './snapshot-store.ts';

export interface ApplyDoors {
  readonly ledger: Ledger;
  readonly snapshot: SnapshotStore;
  /** Brings pointer and slot to agree: redo, or resync, which an occasion asks for in any case. Returns when they do. */
  readonly agree: (occasion?: Occasion) => Promise<void>;
  readonly newId: () => string;
  readonly guard: GuardLimits;
  /** Told right after each commit, whatever becomes of the snapshot. */
  readonly onCommit?: (commit: Commit) => void;
}

export interface Applied {
  inserted: number;
  updated: number;
  deleted: number;
  /** Left out for age or timeline: the scan that they belong to is not complete. */
  dropped: number;
  rejected: number;
  held: number;
  /** The last commit's position; null: nothing was committed. */
  lsn: number | null;
}

/** Pointer and slot are not of one mind; nothing was done. */
class Disagreement extends Error {
  override readonly name = 'Disagreement';
  readonly occasion: Occasion | undefined;
  constructor(occasion?: Occasion) {
    super();
    this.occasion = occasion;
  }
}

/** As many rows in a row refused with one SQLSTATE are no bad rows: something is wrong with the mirror. */
export const REFUSED_IN_A_ROW = 100;

/**
 * Applies a batch and tells the snapshot. When it returns, everything of the batch that counts is committed and known; it may then be acknowledged.
 * Safe to repeat at any point.
 * @throws what the doors throw (an outage): the batch is to be tried again
 */
export async function apply(batch: Batch, doors: ApplyDoors): Promise<Applied> {
  const total: Applied = { inserted: 0, updated: 0, deleted: 0, dropped: 0, rejected: 0, held: 0, lsn: null };
  const refusals: Refusals = { sqlstate: '', inARow: 0, rows: [] };
  for (const round of rounds(batch.changes)) await applyIsolated(batch, round, doors, total, refusals);
  // Only now is it certain that they are bad rows, and not an outage.
  for (const { change, error } of refusals.rows) {
    await untilAgreed(doors, () => reject(batch, change, error, doors));
    total.rejected++;
  }
  return total;
}

/** What Postgres has refused of a batch so far. */
interface Refusals {
  sqlstate: string;
  inARow: number;
  readonly rows: { readonly change: Change; readonly error: RowRefused }[];
}

/** Halves what was refused until the bad row stands alone, and notes that one. */
async function applyIsolated(
  batch: Batch,
  changes: readonly Change[],
  doors: ApplyDoors,
  total: Applied,
  refusals: Refusals,
): Promise<void> {
  try {
    await untilAgreed(doors, () => applyRound(batch, changes, doors, total));
    refusals.inARow = 0;
  } catch (error) {
    if (!(error instanceof RowRefused)) throw error;
    const [change, second] = changes;
    if (change !== undefined && second === undefined) {
      refusals.inARow = refusals.sqlstate === error.sqlstate ? refusals.inARow + 1 : 1;
      refusals.sqlstate = error.sqlstate;
      refusals.rows.push({ change, error });
      if (refusals.inARow <= REFUSED_IN_A_ROW) return;
      throw new UserFacingError(
        `Postgres refuses row after row with SQLSTATE ${error.sqlstate} (${error.message}): that is taken for an outage, and nothing is rejected; see what has changed on the mirror`,
      );
    }
    const middle = Math.ceil(changes.length / 2);
    await applyIsolated(batch, changes.slice(0, middle), doors, total, refusals);
    await applyIsolated(batch, changes.slice(middle), doors, total, refusals);
  }
}

async function untilAgreed(doors: ApplyDoors, attempt: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Disagreement)) throw error;
      await doors.agree(error.occasion);
    }
  }
}

async function applyRound(batch: Batch, changes: readonly Change[], doors: ApplyDoors, total: Applied): Promise<void> {
  const { ledger, snapshot, guard } = doors;
  // Step 2.
  const view = await snapshot.read(changes.map((change) => change.sub));
  const { pointer } = view;
  if (pointer === null) throw new Disagreement();
  if (pointer.timeline !== batch.timeline) {
    // The slot may know of another timeline than a pointer that came back from the dead: look, before anything is dropped.
    if ((await ledger.slot()).commit !== pointer.commit) throw new Disagreement();
    total.dropped += changes.length;
    return;
  }
  if (view.known.some(({ entry }) => entry !== null && entry.observedAt > view.now)) {
    // Redis lost its clock but not its snapshot: nothing that is seen now would count before that time comes.
    throw new Disagreement({ reason: 'an entry lies in the future', timeline: pointer.timeline });
  }
  const candidates: Candidate[] = [];
  let expired = 0;
  changes.forEach((change, i) => {
    const known = view.known[i] as Known;
    const sieved = sieve(change, known, view.now);
    if (sieved === 'expired') expired++;
    if (sieved !== 'keep') return;
    const vacate = movedFrom(change, known);
    candidates.push(vacate === null ? { change, known } : { change, known, vacate });
  });
  if (candidates.length === 0) {
    total.dropped += expired;
    return;
  }
  const outcome = await ledger.transaction(async (tx) => {
    // Steps 3 and 4.
    const vacated = new Map<number, number>();
    const staged: Staged[] = candidates.map(({ change }, n) => ({ n, change, username: usernameOf(change) }));
    candidates.forEach(({ vacate }, owner) => {
      if (vacate === undefined) return;
      vacated.set(staged.length, owner);
      staged.push({ n: staged.length, change: null, username: vacate });
    });
    await tx.stage(staged);
    const slot = await lockAgreed(tx, pointer);
    const { kept, below, stillRejected } = await siftLocked(tx, candidates, slot);
    if (kept.every((candidate) => candidate === null)) {
      if (stillRejected.length > 0) await tx.sawRejected(stillRejected, slot.floor);
      return { below, stillRejected, plan: null, commit: null };
    }
    // Steps 5 and 6.
    const mirrored = new Map((await tx.mirrored()).map((row) => [row.n, row]));
    const strangers = [...mirrored.values()].filter(({ n, sub }) => {
      const change = kept[n]?.change;
      return sub !== null && change !== undefined && change !== null && change.sub !== sub;
    });
    for (const row of await copiesAmong(strangers, staged, pointer, snapshot))
      mirrored.set(row.n, { ...row, copy: true });
    const planned = plan(kept, {
      mirrored,
      vacated,
      mirrorUsers: slot.users,
      replacedBefore: slot.scanReplaced,
      guard,
    });
    if (planned.held.length > 0) await tx.hold(planned.held, 'replaced usernames past the guard', slot.floor);
    if (stillRejected.length > 0) await tx.sawRejected(stillRejected, slot.floor);
    if (changesOf(planned) === 0 && planned.learned.length === 0)
      return { below, stillRejected, plan: planned, commit: null };
    const commit: Commit = {
      timeline: slot.timeline,
      // News for the snapshot alone takes a commit id, so that the order of what it learns is the lock's order; it takes no LSN.
      lsn: changesOf(planned) === 0 ? slot.lsn : nextLsn(slot.lsn),
      commit: doors.newId(),
      op: slot.state === 'copying' ? 'read' : 'insert',
      floor: slot.floor,
      plan: planned,
      lastBatch: encodeLearned(planned.learned),
    };
    await tx.write(commit);
    return { below, stillRejected, plan: planned, commit };
  });
  // Step 7 is behind us: it is committed. Step 8. A refusal means that somebody did it for us and went on.
  const { commit } = outcome;
  if (commit !== null) doors.onCommit?.(commit);
  if (commit !== null)
    await snapshot.advance(commit.timeline, pointer.commit, commit.commit, commit.lsn, commit.plan.learned);
  total.dropped += expired + outcome.below;
  total.rejected += outcome.stillRejected.length;
  if (outcome.plan !== null) count(outcome.plan, commit, total);
}

function count(planned: Plan, commit: Commit | null, total: Applied): void {
  total.held += planned.held.length;
  total.inserted += planned.inserts.length;
  total.updated += planned.updates.length;
  total.deleted += planned.deletes.length;
  if (commit !== null && changesOf(planned) > 0) total.lsn = commit.lsn;
}

/**
 * Of the rows that hold another sub than the change that came for their username: those whose sub is not at home there, so that a hand must have put
 * it there. One more look at the snapshot, under the lock; a username used again is rare enough.
 * @throws Disagreement where the snapshot is no longer where it was
 */
async function copiesAmong(
  strangers: readonly Mirrored[],
  staged: readonly Staged[],
  pointer: Pointer,
  snapshot: SnapshotStore,
): Promise<Mirrored[]> {
  if (strangers.length === 0) return [];
  const view = await snapshot.read(strangers.map(({ sub }) => sub ?? ''));
  if (view.pointer?.commit !== pointer.commit) throw new Disagreement();
  return strangers.filter(({ n }, i) => view.known[i]?.entry?.username !== staged[n]?.username);
}

/** The username under which the snapshot knows this user, where it is another than the one seen. */
function movedFrom(change: Change, { entry }: Known): string | null {
  return change.kind === 'upsert' && entry !== null && entry.username !== change.row.username ? entry.username : null;
}

/**
 * Step 4: the slot under its lock, if it is still where the pointer was.
 * @throws Disagreement
 */
async function lockAgreed(tx: LedgerTransaction, pointer: Pointer): Promise<Slot> {
  const slot = await tx.lock();
  if (
    slot.commit !== pointer.commit ||
    slot.timeline !== pointer.timeline ||
    slot.resyncReason !== null ||
    slot.mirrorReplaced
  ) {
    throw new Disagreement();
  }
  return slot;
}

/** What only the lock's holder knows: the floor, and which changes stand rejected. What is left out becomes null. */
async function siftLocked(tx: LedgerTransaction, candidates: readonly Candidate[], slot: Slot) {
  const upserts = candidates.map(({ change }) => change).filter((change) => change.kind === 'upsert');
  const rejected = await tx.rejected(upserts);
  let below = 0;
  const stillRejected: string[] = [];
  const kept = candidates.map((candidate) => {
    if (belowFloor(candidate.change, slot.floor)) {
      below++;
      return null;
    }
    if (candidate.change.kind === 'upsert' && rejected.has(candidate.change.sub)) {
      stillRejected.push(candidate.change.sub);
      return null;
    }
    return candidate;
  });
  return { kept, below, stillRejected };
}

async function reject(batch: Batch, change: Change, refused: RowRefused, doors: ApplyDoors): Promise<void> {
  const { pointer } = await doors.snapshot.read([]);
  if (pointer === null) throw new Disagreement();
  if (pointer.timeline !== batch.timeline) return;
  await doors.ledger.transaction(async (tx) => {
    const slot = await lockAgreed(tx, pointer);
    await tx.reject(change, refused.sqlstate, refused.message, slot.floor);
  });
}
