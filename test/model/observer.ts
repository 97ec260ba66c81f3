/**
 * What the model holds against DESIGN's invariants while a run is under way. It knows the pool's truth and everything that was ever shown; it decides
 * nothing that the services decide.
 */
import { SHARDS } from '../../services/poller/shard.ts';
import { STALE_AGAIN_MS } from '../../services/writer/decide.ts';
import type { Commit } from '../../services/writer/ledger.ts';
import type { Entry } from '../../shared/snapshot.ts';
import { type CognitoUser, isStandIn, type Row, rowOf, subOf } from '../../shared/user.ts';
import { stateOf } from './hostile-pool.ts';
import { type Database, type LogLine, sameRow, subIn } from './memory-postgres.ts';
import type { World } from './world.ts';

export interface Shown {
  readonly sub: string;
  readonly row: Row;
  readonly state: string;
  readonly observedAt: number;
}

/** What the id of a sharded scan begins with. */
export const SHARDED = 'sharded';

export class Observer {
  readonly #world: World;
  /** Every observation ever made, by sub. */
  readonly #shown = new Map<string, Shown[]>();
  /** The observations that each scan has noted. */
  readonly #byScan = new Map<string, Shown[]>();
  /** Of scans that suspect somebody. */
  readonly #floors = new Map<string, number>();
  /** Shards of which a chain has ended by an absent token. */
  readonly #walked = new Map<string, Set<string>>();

  constructor(world: World) {
    this.#world = world;
    world.postgres.onTimeline = (reason) => this.#timelineBegun(reason);
    world.postgres.onCommit = (before, commit, lines) => this.#committed(before, commit, lines);
  }

  #check(holds: boolean, rule: string): void {
    this.#world.scheduler.check(holds, rule);
  }

  /**
   * Whatever dies, stops, wakes up or comes twice: two histories part only where a server lost a part of one. (A builder whose session was ended may
   * still point to what it built; that costs a resync.)
   */
  #timelineBegun(reason: string): void {
    const { losses, postgres } = this.#world;
    const parted = ['no snapshot', 'another timeline', 'another history', 'the floor lies in the future'].includes(
      reason,
    );
    this.#check(!parted || losses > 0 || postgres.terminated > 0, `a resync though nothing was lost: ${reason}`);
  }

  observed(users: readonly CognitoUser[], observedAt: number): Shown[] {
    return users.map((user) => {
      const row = rowOf(user);
      const shown = { row, sub: subOf(row), state: stateOf(row), observedAt };
      append(this.#shown, shown.sub, shown);
      return shown;
    });
  }

  /** From here on the scan counts them as seen. */
  noted(scan: string, shown: readonly Shown[]): void {
    for (const one of shown) append(this.#byScan, scan, one);
  }

  walked(scan: string, shard: string): void {
    const shards = this.#walked.get(scan) ?? new Set();
    this.#walked.set(scan, shards.add(shard));
  }

  /** Only a complete scan may report users as missing, and only those whom nobody has seen since it began. */
  suspected(scan: string, sub: string, entry: Entry, floor: number): void {
    this.#floors.set(scan, floor);
    if (this.#isForgotten(floor)) return;
    this.#check(this.#isComplete(scan), `an incomplete scan suspects ${sub}`);
    this.#check(entry.observedAt < floor, `${sub} is suspected though known from after the floor`);
  }

  /** AdminGetUser makes a billable user: it comes last, and only for a complete scan or for one user whom a refresh has missed. */
  asked(scan: string | null, username: string): void {
    if (scan === null) return;
    if (this.#isForgotten(this.#floors.get(scan) ?? Infinity)) return;
    this.#check(this.#isComplete(scan), `AdminGetUser ${username} for no complete scan`);
  }

  /**
   * Known gap (of as_of and of what a proof costs, not of what is in the mirror): Redis went back during the scan, and what its runs note afterwards
   * outlives the jobs that they had queued before.
   */
  #isForgotten(floor: number): boolean {
    return floor <= this.#world.redisWentBackAt;
  }

  #isComplete(scan: string): boolean {
    return (this.#walked.get(scan)?.size ?? 0) === (scan.startsWith(SHARDED) ? SHARDS.length : 1);
  }

  /** Done is not applied: everything that the scan has seen is in the mirror, or something later is, or it is known why not. */
  keptAlive(scan: string, timeline: string, floor: number): void {
    const { database } = this.#world.postgres;
    if (this.#isForgotten(floor)) return;
    this.#check(this.#isComplete(scan), 'as_of moved for an incomplete scan');
    // A mirror truncated in the same instant might as well have been so a moment later.
    if (database.slot.mirrorId !== database.mirrorId || this.#world.editedByHand()) return;
    for (const { row, sub, state, observedAt } of this.#byScan.get(scan) ?? []) {
      const { written, dead } = database.memory;
      const last = written.get(sub);
      const mirrored = database.mirror.get(row.username);
      const applied = mirrored !== undefined && stateOf(mirrored) === state;
      const later = last !== undefined && last.timeline === timeline && last.observedAt >= observedAt;
      const gone = dead.has(sub) || database.tombstones.has(sub);
      // Rules 4 and 5; a row that names nobody was made by hand.
      const stale = mirrored !== undefined && subIn(mirrored) === sub && notBefore(mirrored.updatedAt, row.updatedAt);
      const ghost = mirrored !== undefined && subIn(mirrored) !== sub && notBefore(mirrored.createdAt, row.createdAt);
      const refused = database.rejects.has(sub);
      const held = mirrored !== undefined && database.held.has(subIn(mirrored) ?? '');
      this.#check(
        applied || later || gone || stale || ghost || refused || held,
        `as_of moved though what ${scan} saw of ${sub} is not applied`,
      );
    }
  }

  #committed(before: Database, commit: Commit, lines: readonly LogLine[]): void {
    const { pool } = this.#world;
    const puts = new Map(commit.plan.learned.flatMap((one) => (one.op === 'put' ? [[one.sub, one.entry]] : [])));
    const newest = before.log.at(-1);
    for (const line of lines) {
      this.#check(newest === undefined || line.lsn > newest.lsn, `LSN ${line.lsn} was given before`);
      if (line.op === 'delete') this.#deleted(before, commit, line);
      else this.#written(before, line, puts.get(line.sub));
    }
    for (const { sub } of commit.plan.tombstones) {
      this.#check(isStandIn(sub) || !pool.exists(sub), `a tombstone for ${sub}, who exists`);
      before.memory.dead.add(sub);
    }
  }

  #deleted(before: Database, { plan }: Commit, { username, sub }: LogLine): void {
    const { pool } = this.#world;
    const deleted = plan.deletes.find((one) => one.username === username);
    const rowSub = deleted?.rowSub ?? '';
    this.#check(
      !pool.exists(rowSub) || pool.byUsername(username)?.sub !== rowSub,
      `${username} (${rowSub}) is deleted and exists`,
    );
    if (deleted === undefined || deleted.tombstoneAt === null) return;
    this.#check(!pool.exists(sub), `a tombstone for ${sub}, who exists`);
    before.memory.dead.add(sub);
    before.memory.written.delete(sub);
  }

  #written(before: Database, line: LogLine, put: Entry | undefined): void {
    const { sub, old, new: row } = line;
    const { dead, written } = before.memory;
    if (row === null || put === undefined) {
      this.#check(false, `${line.op} of ${sub} that the snapshot is not told`);
      return;
    }
    this.#check(!dead.has(sub), `${sub} comes back from the dead`);
    this.#check(this.#world.pool.everHad(sub, stateOf(row)), `a state of ${sub} that the pool never had`);
    this.#check(old === null || !sameRow(old, row), `an update of ${sub} that changes nothing`);
    const { asOf } = before.slot;
    this.#check(
      before.memory.keptIn !== line.timeline || asOf === null || put.observedAt >= asOf,
      `${sub} is written from an observation older than as_of`,
    );
    const last = written.get(sub);
    this.#check(
      last === undefined || last.timeline !== line.timeline || last.observedAt < put.observedAt,
      `an observation of ${sub} overwrites a newer one`,
    );
    if (old !== null && subIn(old) === sub && !notBefore(row.updatedAt, old.updatedAt)) {
      const again = (this.#shown.get(sub) ?? []).some(
        ({ state, observedAt }) => state === stateOf(row) && put.observedAt - observedAt >= STALE_AGAIN_MS,
      );
      this.#check(again, `a stale read of ${sub} is applied at once`);
    }
    written.set(sub, { timeline: line.timeline, observedAt: put.observedAt });
  }
}

const notBefore = (a: number | null, b: number | null): boolean => a === null || b === null || a >= b;

function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
