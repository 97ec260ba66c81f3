/**
 * The rules of order: which of a batch's changes count, and what becomes of each. Pure: clock and state are arguments.
 * The numbers are DESIGN's ("Order").
 */
import { type Change, type Delete, type Upsert, usernameOf } from '../../shared/change.ts';
import { type GuardLimits, trips } from '../../shared/guard.ts';
import type { Known } from '../../shared/snapshot.ts';
import { isStandIn, standInSub } from '../../shared/user.ts';
import type { Learned } from './learned.ts';

/** A change whose observation is older counts no more (rule 1). */
export const MAX_AGE_MS = 30 * 60_000;
/** A stale read counts when it is seen again this much later (rule 4). */
export const STALE_AGAIN_MS = 10 * 60_000;

/** What the mirror holds under a staged username. */
export interface Mirrored {
  readonly n: number;
  /** null: the row names no sub; somebody edited it by hand. */
  readonly sub: string | null;
  readonly createdAt: number | null;
  readonly updatedAt: number | null;
  /** The row equals the staged one, whatever the order of its attributes. */
  readonly same: boolean;
  /** The sub in it belongs to a row under another username: a copy made by hand. */
  readonly copy?: boolean;
}

/** A change that passed the first sieve, with what the snapshot knew. */
export interface Candidate {
  readonly change: Change;
  readonly known: Known;
  /**
   * The mirror's row of this sub that stands under another username (edited by hand, since Cognito's usernames never change): to be vacated.
   */
  readonly vacate?: string;
}

export type Sieved = 'keep' | 'superseded' | 'ghost' | 'expired';

/**
 * Rules 1 and 3, by what the snapshot knows.
 * superseded: the snapshot has this observation or a later one. ghost: its sub is dead. expired: older than half an hour.
 */
export function sieve(change: Change, known: Known, now: number): Sieved {
  if (known.tombstoned) return 'ghost';
  if (known.entry !== null && change.observedAt <= known.entry.observedAt) return 'superseded';
  if (change.observedAt < now - MAX_AGE_MS) return 'expired';
  return 'keep';
}

/** Rule 1's other half: what was seen before the floor counts no more. Known only under the slot's lock. */
export const belowFloor = (change: Change, floor: number): boolean => change.observedAt < floor;

/**
 * Cuts a batch into rounds that are applied one after the other, so that no username and no sub stands twice in one of them. Nearly always one.
 */
export function rounds(changes: readonly Change[]): Change[][] {
  const result: Change[][] = [];
  const roundOf = new Map<string, number>();
  for (const change of [...changes].sort((a, b) => a.observedAt - b.observedAt)) {
    const names = [`u${usernameOf(change)}`, `s${change.sub}`];
    const round = Math.max(...names.map((name) => roundOf.get(name) ?? -1)) + 1;
    for (const name of names) roundOf.set(name, round);
    const changesOfRound = result[round] ?? [];
    changesOfRound.push(change);
    result[round] = changesOfRound;
  }
  return result;
}

export type Verdict = 'insert' | 'update' | 'replace' | 'same' | 'stale' | 'ghost' | 'delete' | 'absent';

/** Rules 3 to 5 for one change, by what the mirror holds under its username. */
export function judge({ change, known, vacate }: Candidate, mirrored: Mirrored | undefined): Verdict {
  if (change.kind === 'delete') return judgeDelete(change, mirrored);
  return judgeUpsert(change, known, mirrored, vacate !== undefined);
}

/**
 * A row that a hand has damaged is put right in place, and nobody is buried for it: it names no sub, or one that is at home elsewhere, or the user
 * who is seen stands under another username, which Cognito never changes (`moved`).
 */
const isDamaged = (change: Upsert, { sub, copy }: Mirrored, moved: boolean): boolean =>
  sub === null || (sub !== change.sub && (copy === true || moved));

function judgeUpsert(change: Upsert, known: Known, mirrored: Mirrored | undefined, moved: boolean): Verdict {
  if (mirrored === undefined) return 'insert';
  if (isDamaged(change, mirrored, moved)) return 'update';
  if (mirrored.sub !== change.sub) return isLater(change.row.createdAt, mirrored.createdAt) ? 'replace' : 'ghost';
  if (mirrored.same) return 'same';
  const older = isLater(mirrored.updatedAt, change.row.updatedAt);
  return older && !seenAgain(change, known) ? 'stale' : 'update';
}

function judgeDelete(change: Delete, mirrored: Mirrored | undefined): Verdict {
  if (mirrored === undefined) return 'absent';
  if (mirrored.sub === change.sub) return 'delete';
  return isStandIn(change.sub) && (mirrored.sub === null || mirrored.copy === true) ? 'delete' : 'absent';
}

const isLater = (a: number | null, b: number | null): boolean => a !== null && b !== null && a > b;

function seenAgain(change: Upsert, { stale }: Known): boolean {
  return (
    stale !== null &&
    stale.fingerprint === change.fingerprint &&
    change.observedAt - stale.firstObservedAt >= STALE_AGAIN_MS
  );
}

export interface DeletedRow {
  readonly username: string;
  readonly sub: string;
  /** The row goes only while it holds this sub; null: while it names none. Another one than `sub` where a hand edited the row. */
  readonly rowSub: string | null;
  /** Milliseconds; null: no tombstone, because the user lives on under another username. */
  readonly tombstoneAt: number | null;
}

/** What one transaction does. Numbers index the staged changes. */
export interface Plan {
  readonly deletes: readonly DeletedRow[];
  readonly updates: readonly number[];
  readonly inserts: readonly number[];
  /** Subs that are gone though the mirror held no row of theirs. */
  readonly tombstones: readonly { readonly username: string; readonly sub: string; readonly at: number }[];
  readonly held: readonly { readonly username: string; readonly sub: string }[];
  readonly replaced: number;
  readonly learned: readonly Learned[];
  /** Subs that are no longer rejected or held, whatever was written of them. */
  readonly settled: readonly string[];
}

export const changesOf = (plan: Plan): number => plan.deletes.length + plan.updates.length + plan.inserts.length;

export interface Circumstances {
  /** By n. */
  readonly mirrored: ReadonlyMap<number, Mirrored>;
  /** By n: rows staged only to see what a hand-edited username holds. */
  readonly vacated: ReadonlyMap<number, number>;
  readonly mirrorUsers: number;
  /** Usernames replaced since the floor, by earlier batches. */
  readonly replacedBefore: number;
  readonly guard: GuardLimits;
}

/** All verdicts of one round, and what follows from them. */
export function plan(candidates: readonly (Candidate | null)[], circumstances: Circumstances): Plan {
  const { mirrored, vacated, mirrorUsers, replacedBefore, guard } = circumstances;
  const verdicts = candidates.map((candidate, n) => candidate && judge(candidate, mirrored.get(n)));
  const replaced = verdicts.filter((verdict) => verdict === 'replace').length;
  const hold = replaced > 0 && trips(replacedBefore + replaced, mirrorUsers, guard);

  const deletes: DeletedRow[] = [];
  const updates: number[] = [];
  const inserts: number[] = [];
  const tombstones: { username: string; sub: string; at: number }[] = [];
  const held: { username: string; sub: string }[] = [];
  const learned: Learned[] = [];
  /** Learned before all else: who is forgotten may be seen in the same batch. */
  const forgotten: Learned[] = [];
  const settled: string[] = [];

  // A stand-in names a row, not a user: the next row that a hand invents there has to go, too.
  const gone = (sub: string, at: number) => {
    learned.push(isStandIn(sub) ? { op: 'forget', sub } : { op: 'delete', sub, deletedAt: at });
    settled.push(sub);
  };
  const removed = (username: string, sub: string, at: number, rowSub: string | null) => {
    deletes.push({ username, sub, rowSub, tombstoneAt: isStandIn(sub) ? null : at });
    gone(sub, at);
  };
  const seen = (change: Upsert) => {
    const { username } = change.row;
    learned.push({
      op: 'put',
      sub: change.sub,
      entry: { observedAt: change.observedAt, fingerprint: change.fingerprint, username },
    });
    settled.push(change.sub);
  };

  candidates.forEach((candidate, n) => {
    const verdict = verdicts[n];
    if (candidate === null || verdict === null || verdict === undefined) return;
    const { change, known } = candidate;
    const username = usernameOf(change);
    const row = mirrored.get(n);
    if (change.kind === 'delete') {
      if (verdict === 'delete') removed(username, change.sub, change.observedAt, row?.sub ?? null);
      else {
        if (!isStandIn(change.sub)) tombstones.push({ username, sub: change.sub, at: change.observedAt });
        gone(change.sub, change.observedAt);
      }
      return;
    }
    switch (verdict) {
      case 'replace':
        if (hold) {
          if (row?.sub) held.push({ username, sub: row.sub });
          return;
        }
        if (row?.sub) removed(username, row.sub, change.observedAt, row.sub);
        inserts.push(n);
        break;
      case 'insert':
        inserts.push(n);
        break;
      case 'update':
        updates.push(n);
        break;
      case 'stale':
        if (known.stale?.fingerprint !== change.fingerprint) {
          learned.push({
            op: 'stale',
            sub: change.sub,
            stale: { fingerprint: change.fingerprint, firstObservedAt: change.observedAt },
          });
        }
        return;
      case 'ghost':
        return;
      default:
        break;
    }
    seen(change);
    if (row === undefined || isStandIn(change.sub)) return;
    const damaged = isDamaged(change, row, candidate.vacate !== undefined);
    // He was new to the snapshot, or the row was damaged: a resync may have known it by a stand-in.
    if (damaged || known.entry === null) forgotten.push({ op: 'forget', sub: standInSub(username) });
    // Whose sub stood there has lost his row without having gone: he is new when he is seen.
    if (damaged && row.sub !== null && row.copy !== true) forgotten.push({ op: 'forget', sub: row.sub });
  });
  const written = new Set([...updates, ...inserts].map((n) => usernameOf((candidates[n] as Candidate).change)));

  for (const [n, owner] of vacated) {
    const candidate = candidates[owner];
    const verdict = verdicts[owner];
    const row = mirrored.get(n);
    if (!candidate?.vacate || row === undefined || row.sub !== candidate.change.sub) continue;
    if (written.has(candidate.vacate)) continue;
    if (verdict === 'insert' || verdict === 'update' || verdict === 'same' || (verdict === 'replace' && !hold)) {
      deletes.push({ username: candidate.vacate, sub: row.sub, rowSub: row.sub, tombstoneAt: null });
    }
  }
  return {
    deletes,
    updates,
    inserts,
    tombstones,
    held,
    replaced: hold ? 0 : replaced,
    learned: [...forgotten, ...learned],
    settled,
  };
}
