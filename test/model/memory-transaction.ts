/** One transaction of the ledger in memory: what services/writer/postgres-ledger.ts and mirror-sql.ts do, statement by statement. */

import type { Mirrored } from '../../services/writer/decide.ts';
import {
  type Commit,
  type LedgerTransaction,
  RowRefused,
  type Slot,
  type Staged,
} from '../../services/writer/ledger.ts';
import { TOMBSTONE_MS } from '../../services/writer/snapshot-store.ts';
import type { Change, ScanSummary } from '../../shared/change.ts';
import type { Fingerprint } from '../../shared/fingerprint.ts';
import type { Lsn } from '../../shared/lsn.ts';
import { type Row, standInSub } from '../../shared/user.ts';
import {
  type Database,
  type LogLine,
  type MemoryPostgres,
  rowStaged,
  type Session,
  sameRow,
  slotOf,
  subIn,
} from './memory-postgres.ts';
import { Outage } from './scheduler.ts';

export class MemoryTransaction implements LedgerTransaction {
  readonly #postgres: MemoryPostgres;
  readonly #session: Session;

  constructor(postgres: MemoryPostgres, session: Session) {
    this.#postgres = postgres;
    this.#session = session;
  }

  #step<T>(what: string, effect: (database: Database) => T, ready?: () => boolean): Promise<T> {
    const session = this.#session;
    return this.#postgres.scheduler.step(
      session.owner,
      `pg ${what}`,
      () => {
        if (session.ended) throw new Outage('57P01 terminating connection');
        return effect(this.#postgres.database);
      },
      ready,
    );
  }

  #later(what: string, write: (database: Database) => void): Promise<void> {
    return this.#step(what, () => {
      this.#session.writes.push(write);
    });
  }

  stage(staged: readonly Staged[]): Promise<void> {
    return this.#step('copy', () => {
      this.#session.staged.push(...staged);
    });
  }

  /** Waits; past a holder that is stopped or dead, whose session it ends as the real waiter does. */
  lock(): Promise<Slot> {
    const postgres = this.#postgres;
    const session = this.#session;
    return this.#step(
      'lock slot',
      (database) => {
        const { slotHolder: holder } = postgres;
        if (holder !== null && holder !== session) postgres.terminate(holder);
        postgres.slotHolder = session;
        return slotOf(database);
      },
      () => {
        const { slotHolder: holder } = postgres;
        return session.ended || holder === null || holder === session || !holder.owner.running;
      },
    );
  }

  mirrored(): Promise<Mirrored[]> {
    return this.#step('mirrored', ({ mirror }) => {
      this.#session.touched = true;
      return this.#session.staged.flatMap(({ n, change, username }): Mirrored[] => {
        const row = mirror.get(username);
        if (row === undefined) return [];
        const same = change?.kind === 'upsert' && sameRow(row, rowStaged(change, username));
        return [{ n, sub: subIn(row), createdAt: row.createdAt, updatedAt: row.updatedAt, same }];
      });
    });
  }

  rejected(changes: readonly { sub: string; fingerprint: Fingerprint }[]): Promise<Set<string>> {
    return this.#step('rejected', ({ rejects }) => {
      const again = changes.filter(({ sub, fingerprint }) => rejects.get(sub)?.fingerprint === fingerprint);
      return new Set(again.map(({ sub }) => sub));
    });
  }

  write(commit: Commit): Promise<void> {
    return this.#step(`write lsn ${commit.lsn}`, (database) => {
      const lines = this.#lines(database, commit);
      const { plan } = commit;
      this.#session.writes.push((now) => {
        this.#postgres.onCommit(now, commit, lines);
        if (lines.length > 0) now.memory.writes++;
        for (const { username } of plan.deletes) now.mirror.delete(username);
        for (const line of lines) if (line.new !== null) now.mirror.set(line.username, line.new);
        now.log.push(...lines);
        const buried = plan.deletes.flatMap(({ username, sub, tombstoneAt: at }) =>
          at === null ? [] : [{ username, sub, at }],
        );
        for (const { username, sub, at } of [...buried, ...plan.tombstones]) {
          if (!now.tombstones.has(sub)) now.tombstones.set(sub, { username, deletedAt: at });
        }
        for (const sub of plan.settled) {
          now.held.delete(sub);
          now.rejects.delete(sub);
        }
        now.slot = {
          ...now.slot,
          lsn: commit.lsn,
          previousCommit: now.slot.commit,
          commit: commit.commit,
          lastBatch: commit.lastBatch,
          users: now.slot.users + plan.inserts.length - plan.deletes.length,
          scanReplaced: now.slot.scanReplaced + plan.replaced,
        };
      });
    });
  }

  /** What the statements find and log. @throws what Postgres or mirror-sql.ts would */
  #lines({ mirror }: Database, { plan, lsn, timeline, op }: Commit): LogLine[] {
    const lines: LogLine[] = [];
    const gone = new Set<string>();
    for (const { username, sub, rowSub } of plan.deletes) {
      const old = mirror.get(username);
      if (old === undefined || subIn(old) !== rowSub) throw new Outage('the mirror changed under the writer: delete');
      gone.add(username);
      lines.push({ lsn, timeline, op: 'delete', username, sub, old, new: null });
    }
    const staged = (n: number): Row => {
      const { change, username } = this.#session.staged[n] as Staged;
      const row = rowStaged(change, username);
      if (this.#postgres.poison.has(subIn(row) ?? '')) throw new RowRefused('22000', 'poison', null);
      return row;
    };
    for (const n of plan.updates) {
      const row = staged(n);
      const old = mirror.get(row.username);
      if (old === undefined) throw new Outage('the mirror changed under the writer: update');
      const sub = subIn(row) ?? standInSub(row.username);
      lines.push({ lsn, timeline, op: 'update', username: row.username, sub, old, new: row });
    }
    for (const n of plan.inserts) {
      const row = staged(n);
      if (mirror.has(row.username) && !gone.has(row.username)) throw new Outage('23505 duplicate key');
      const sub = subIn(row) ?? standInSub(row.username);
      lines.push({ lsn, timeline, op, username: row.username, sub, old: null, new: row });
    }
    return lines;
  }

  reject(change: Change, _sqlstate: string, _reason: string, floor: number): Promise<void> {
    const fingerprint = change.kind === 'upsert' ? change.fingerprint : null;
    return this.#later('reject', ({ rejects }) => rejects.set(change.sub, { fingerprint, seenFloor: floor }));
  }

  sawRejected(subs: readonly string[], floor: number): Promise<void> {
    return this.#later('saw rejected', ({ rejects }) => {
      for (const sub of subs) {
        const known = rejects.get(sub);
        if (known !== undefined) rejects.set(sub, { ...known, seenFloor: floor });
      }
    });
  }

  hold(users: readonly { sub: string; username: string }[], _reason: string, floor: number): Promise<void> {
    return this.#later('hold', ({ held }) => {
      for (const { sub, username } of users) held.set(sub, { username, seenAt: floor });
    });
  }

  raiseFloor(floor: number): Promise<void> {
    return this.#later('raise floor', (database) => {
      const { slot } = database;
      database.slot = { ...slot, floor: Math.max(slot.floor, floor), scanReplaced: 0 };
    });
  }

  keepalive(floor: number, _summary: ScanSummary): Promise<void> {
    const now = this.#postgres.time;
    return this.#later('keepalive', (database) => {
      const { slot, rejects, held, tombstones } = database;
      database.slot = { ...slot, asOf: Math.max(slot.asOf ?? 0, floor), state: 'streaming' };
      database.memory.keptIn = slot.timeline;
      for (const [sub, { seenFloor }] of rejects) if (seenFloor < floor) rejects.delete(sub);
      for (const [sub, { seenAt }] of held) if (seenAt < floor) held.delete(sub);
      for (const [sub, { deletedAt }] of tombstones) if (deletedAt < now - TOMBSTONE_MS) tombstones.delete(sub);
    });
  }

  newTimeline(timeline: string, commit: string, lsn: Lsn, floor: number, reason: string): Promise<void> {
    return this.#later(`new timeline: ${reason}`, (database) => {
      this.#postgres.onTimeline(reason);
      database.slot = {
        ...database.slot,
        timeline,
        commit,
        previousCommit: null,
        lastBatch: null,
        lsn,
        floor,
        resyncReason: reason,
        mirrorId: database.mirrorId,
      };
    });
  }

  resynced(users: number): Promise<void> {
    return this.#later('resynced', (database) => {
      const { slot } = database;
      const state = users === 0 ? 'copying' : slot.state;
      database.slot = { ...slot, resyncReason: null, resyncedAt: this.#postgres.time, users, state };
    });
  }
}
