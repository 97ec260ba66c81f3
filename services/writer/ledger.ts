/**
 * The writer's door to Postgres: slot and mirror, one transaction at a time. An in-memory one stands behind the same door in the model test.
 */
import type { Change, ScanSummary } from '../../shared/change.ts';
import type { Fingerprint } from '../../shared/fingerprint.ts';
import type { Lsn } from '../../shared/lsn.ts';
import type { Row } from '../../shared/user.ts';
import type { Mirrored, Plan } from './decide.ts';

export interface Slot {
  readonly timeline: string;
  readonly state: 'copying' | 'streaming';
  readonly lsn: Lsn;
  readonly commit: string;
  readonly previousCommit: string | null;
  /** Milliseconds, like all times here. */
  readonly floor: number;
  readonly asOf: number | null;
  readonly users: number;
  readonly scanReplaced: number;
  /** Why the snapshot of this timeline is still owed; null when it has been built. */
  readonly resyncReason: string | null;
  readonly resyncedAt: number | null;
  /** The mirror is not the relation, or has not the storage, that the snapshot was built from: truncated, dropped, recreated. */
  readonly mirrorReplaced: boolean;
  readonly lastBatch: Buffer | null;
}

/** A line of the staging table: a change's row, or only a username to look at. */
export interface Staged {
  readonly n: number;
  readonly change: Change | null;
  readonly username: string;
}

export interface Commit {
  readonly timeline: string;
  readonly lsn: Lsn;
  readonly commit: string;
  readonly op: 'read' | 'insert';
  readonly floor: number;
  readonly plan: Plan;
  readonly lastBatch: Buffer;
}

/** One transaction. What it did is there when `Ledger.transaction` has returned, and only then. */
export interface LedgerTransaction {
  /** COPY into a temporary table. Takes no lock that anyone waits for. */
  stage(staged: readonly Staged[]): Promise<void>;
  /** Locks the slot's row. From here on, and until the end, no other batch of the pool is applied. */
  lock(): Promise<Slot>;
  /** What the mirror holds under the usernames staged. */
  mirrored(): Promise<Mirrored[]>;
  /** Of these subs, those whose change stands rejected with the very fingerprint given. */
  rejected(changes: readonly { sub: string; fingerprint: Fingerprint }[]): Promise<Set<string>>;
  /** Change log, tombstones, mirror, slot; in this order. */
  write(commit: Commit): Promise<void>;
  /** A row that Postgres refused. */
  reject(change: Change, sqlstate: string, reason: string, floor: number): Promise<void>;
  /** Rejected changes that came again unchanged. */
  sawRejected(subs: readonly string[], floor: number): Promise<void>;
  hold(users: readonly { sub: string; username: string }[], reason: string, floor: number): Promise<void>;
  raiseFloor(floor: number): Promise<void>;
  keepalive(floor: number, summary: ScanSummary): Promise<void>;
  newTimeline(timeline: string, commit: string, lsn: Lsn, floor: number, reason: string): Promise<void>;
  /** The snapshot of the timeline stands; the mirror held so many users. */
  resynced(users: number): Promise<void>;
}

/** The mirror as one instant shows it, for a resync. */
export interface RebuildSource {
  readonly slot: Slot;
  /** All rows of the mirror with their subs (a stand-in where there is none), some thousands at a time. */
  rows(): AsyncIterable<readonly { readonly row: Row; readonly sub: string }[]>;
  tombstones(): AsyncIterable<readonly { readonly sub: string; readonly deletedAt: number }[]>;
}

export interface Ledger {
  /** Commits when `work` resolves, rolls back when it rejects. */
  transaction<T>(work: (tx: LedgerTransaction) => Promise<T>): Promise<T>;
  /** Without a lock. @throws MirrorMissing */
  slot(): Promise<Slot>;
  /**
   * One repeatable-read transaction under an advisory lock. Gives false, at once, where another session holds it.
   */
  rebuild(work: (source: RebuildSource) => Promise<void>): Promise<boolean>;
}

/** The change was refused for what is in it, not for where it came to. */
export class RowRefused extends Error {
  override readonly name = 'RowRefused';
  readonly sqlstate: string;
  constructor(sqlstate: string, reason: string, cause: unknown) {
    super(reason, { cause });
    this.sqlstate = sqlstate;
  }
}
