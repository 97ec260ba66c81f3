/**
 * What Postgres holds of a mirror, the sessions on it, and what can befall it: a restore of an older base, TRUNCATE, DROP, edits by hand.
 */

import type { Commit, Slot } from '../../services/writer/ledger.ts';
import { type Change, usernameOf } from '../../shared/change.ts';
import type { Fingerprint } from '../../shared/fingerprint.ts';
import { LSN_ZERO } from '../../shared/lsn.ts';
import type { Row } from '../../shared/user.ts';
import type { Process, Scheduler } from './scheduler.ts';

export interface LogLine {
  readonly lsn: number;
  readonly timeline: string;
  readonly op: 'read' | 'insert' | 'update' | 'delete';
  readonly username: string;
  readonly sub: string;
  readonly old: Row | null;
  readonly new: Row | null;
}

/** Values are never changed in place, so that a copy of the maps is a backup. */
export interface Database {
  slot: Omit<Slot, 'mirrorReplaced'> & { readonly mirrorId: number };
  /** oid and filenode in one: another number after TRUNCATE or DROP. */
  mirrorId: number;
  mirror: Map<string, Row>;
  log: LogLine[];
  tombstones: Map<string, { readonly username: string; readonly deletedAt: number }>;
  held: Map<string, { readonly username: string; readonly seenAt: number }>;
  rejects: Map<string, { readonly fingerprint: Fingerprint | null; readonly seenFloor: number }>;
  /** No door shows it: what the checks remember of this history. */
  memory: Memory;
}

/** What the feed has done in one history of the database; a restore takes it back with the rest. */
export interface Memory {
  /** Subs whose row the feed deleted for good. */
  readonly dead: Set<string>;
  /** By sub: the observation that its row was last written from. */
  readonly written: Map<string, { readonly timeline: string; readonly observedAt: number }>;
  /** Statements on the mirror, whoever made them. */
  writes: number;
  /** The timeline in which a hand last edited the mirror. */
  editedIn: string | null;
  /** The timeline in which as_of last moved. */
  keptIn: string | null;
}

export const copyOf = (database: Database): Database => ({
  ...database,
  mirror: new Map(database.mirror),
  log: [...database.log],
  tombstones: new Map(database.tombstones),
  held: new Map(database.held),
  rejects: new Map(database.rejects),
  memory: {
    dead: new Set(database.memory.dead),
    written: new Map(database.memory.written),
    writes: database.memory.writes,
    editedIn: database.memory.editedIn,
    keptIn: database.memory.keptIn,
  },
});

export class Session {
  readonly owner: Process;
  /** What its transaction does when it commits. */
  readonly writes: ((database: Database) => void)[] = [];
  /** Repeatable read: what it sees. */
  readonly view: Database | null;
  readonly staged: { readonly n: number; readonly change: Change | null; readonly username: string }[] = [];
  ended = false;
  /** It has read or written the mirror: DDL waits for it. */
  touched = false;
  /** Told when the transaction has committed. */
  committed: Commit[] = [];

  constructor(owner: Process, view: Database | null) {
    this.owner = owner;
    this.view = view;
  }
}

export class MemoryPostgres {
  database: Database;
  readonly scheduler: Scheduler;
  readonly sessions = new Set<Session>();
  slotHolder: Session | null = null;
  rebuilder: Session | null = null;
  /** Subs whose rows are refused. */
  poison: ReadonlySet<string> = new Set();
  /** Told of each commit that changed the mirror, before it stands. */
  onCommit: (before: Database, commit: Commit, lines: readonly LogLine[]) => void = () => undefined;
  /** Sessions that others have ended. */
  terminated = 0;
  /** Told why a timeline begins. */
  onTimeline: (reason: string) => void = () => undefined;
  #saved: Database;
  #mirrorIds = 1;

  constructor(scheduler: Scheduler, ids: readonly [timeline: string, commit: string]) {
    this.scheduler = scheduler;
    this.database = {
      // As slot-setup.ts makes it.
      slot: {
        timeline: ids[0],
        state: 'copying',
        lsn: LSN_ZERO,
        commit: ids[1],
        previousCommit: null,
        floor: 0,
        asOf: null,
        users: 0,
        scanReplaced: 0,
        resyncReason: 'first start',
        resyncedAt: null,
        lastBatch: null,
        mirrorId: 1,
      },
      mirrorId: 1,
      mirror: new Map(),
      log: [],
      tombstones: new Map(),
      held: new Map(),
      rejects: new Map(),
      memory: { dead: new Set(), written: new Map(), writes: 0, editedIn: null, keptIn: null },
    };
    this.#saved = copyOf(this.database);
  }

  /** now(), milliseconds. */
  get time(): number {
    return this.scheduler.now;
  }

  open(owner: Process, view: Database | null = null): Session {
    const session = new Session(owner, view);
    this.sessions.add(session);
    return session;
  }

  /** pg_terminate_backend: its owner goes on and knows nothing of it yet. */
  terminate(session: Session): void {
    this.terminated++;
    this.end(session);
  }

  /** Its transaction rolls back. */
  end(session: Session): void {
    session.ended = true;
    this.sessions.delete(session);
    if (this.slotHolder === session) this.slotHolder = null;
    if (this.rebuilder === session) this.rebuilder = null;
  }

  commit(session: Session): void {
    for (const write of session.writes) write(this.database);
    this.end(session);
  }

  endAll(): void {
    for (const session of [...this.sessions]) this.terminate(session);
  }

  save(): void {
    this.#saved = copyOf(this.database);
  }

  /** The base backup in place of what there is. */
  restore(): void {
    this.endAll();
    const { editedIn } = this.database.memory;
    this.database = copyOf(this.#saved);
    // A rebuild under way may have read what a hand had made, and the restored slot is still where it was.
    if (editedIn === this.database.slot.timeline) this.database.memory.editedIn = editedIn;
  }

  /** TRUNCATE; or DROP and a new, empty table: either way another storage. Whoever uses the table is ended, as an impatient operator would. */
  replaceMirror(): void {
    for (const session of [...this.sessions]) if (session.touched) this.terminate(session);
    this.database.mirrorId = ++this.#mirrorIds;
    this.database.mirror = new Map();
    this.database.memory.writes++;
    this.database.memory.written.clear();
  }

  /** Somebody's own UPDATE, INSERT or DELETE. */
  editByHand(edit: (mirror: Map<string, Row>) => void): void {
    for (const session of [...this.sessions]) if (session.touched) this.terminate(session);
    edit(this.database.mirror);
    this.database.memory.writes++;
    this.database.memory.editedIn = this.database.slot.timeline;
  }
}

export function slotOf({ slot, mirrorId }: Database): Slot {
  const { mirrorId: known, ...rest } = slot;
  return { ...rest, mirrorReplaced: known !== mirrorId };
}

/** cognito_feed.sub_of */
export function subIn(row: Row): string | null {
  for (const [name, value] of row.attributes) if (name === 'sub' && value !== null && value !== '') return value;
  return null;
}

/** cognito_feed.same_attributes, and the other columns but the username. */
export function sameRow(a: Row, b: Row): boolean {
  if (a.email !== b.email || a.status !== b.status || a.enabled !== b.enabled) return false;
  if (a.createdAt !== b.createdAt || a.updatedAt !== b.updatedAt) return false;
  const pairs = (row: Row) => row.attributes.map((pair) => JSON.stringify(pair)).sort();
  const [ours, theirs] = [pairs(a), pairs(b)];
  return ours.length === theirs.length && ours.every((pair, i) => pair === theirs[i]);
}

export const rowStaged = (change: Change | null, username: string): Row =>
  change?.kind === 'upsert'
    ? change.row
    : {
        username: change === null ? username : usernameOf(change),
        email: null,
        status: null,
        enabled: null,
        createdAt: null,
        updatedAt: null,
        attributes: [],
      };
