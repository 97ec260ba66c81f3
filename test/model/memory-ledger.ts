/** The ledger's door in memory: what services/writer/postgres-ledger.ts and mirror-sql.ts do, statement by statement. */

import type { Mirrored } from '../../services/writer/decide.ts';
import {
  type Commit,
  type Ledger,
  type LedgerTransaction,
  type RebuildSource,
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
  copyOf,
  type Database,
  type LogLine,
  type MemoryPostgres,
  rowStaged,
  type Session,
  sameRow,
  subIn,
} from './memory-postgres.ts';
import { Outage, type Process } from './scheduler.ts';

function slotOf({ slot, mirrorId }: Database): Slot {
  const { mirrorId: known, ...rest } = slot;
  return { ...rest, mirrorReplaced: known !== mirrorId };
}

export class MemoryLedger implements Ledger {
  readonly #postgres: MemoryPostgres;
  readonly #process: Process;

  constructor(postgres: MemoryPostgres, owner: Process) {
    this.#postgres = postgres;
    this.#process = owner;
  }

  #step<T>(what: string, effect: () => T): Promise<T> {
    return this.#postgres.scheduler.step(this.#process, `pg ${what}`, effect);
  }

  async transaction<T>(work: (tx: LedgerTransaction) => Promise<T>): Promise<T> {
    const session = await this.#step('begin', () => this.#postgres.open(this.#process));
    try {
      const result = await work(new MemoryTransaction(this.#postgres, session));
      await this.#step('commit', () => {
        if (session.ended) throw new Outage('57P01 terminating connection');
        this.#postgres.commit(session);
      });
      return result;
    } catch (error) {
      await this.#step('rollback', () => this.#postgres.end(session));
      throw error;
    }
  }

  slot(): Promise<Slot> {
    return this.#step('slot', () => slotOf(this.#postgres.database));
  }

  async rebuild(work: (source: RebuildSource) => Promise<void>): Promise<boolean> {
    const postgres = this.#postgres;
    // Repeatable read: the view is as old as the statement that asks for the lock, which may be granted a little later.
    const session = await this.#step('begin repeatable read', () =>
      postgres.open(this.#process, copyOf(postgres.database)),
    );
    try {
      const taken = await this.#step('advisory lock', () => {
        if (session.ended) throw new Outage('57P01 terminating connection');
        const holder = postgres.rebuilder;
        if (holder === null) postgres.rebuilder = session;
        // A holder that no longer moves is ended; the next try finds the lock free.
        else if (!holder.owner.running) postgres.end(holder);
        return postgres.rebuilder === session;
      });
      if (taken) await work(this.#source(session, session.view as Database));
      await this.#step('commit', () => {
        if (session.ended) throw new Outage('57P01 terminating connection');
        postgres.commit(session);
      });
      return taken;
    } catch (error) {
      await this.#step('rollback', () => postgres.end(session));
      throw error;
    }
  }

  #source(session: Session, view: Database): RebuildSource {
    const fetch = <T>(what: string, all: () => T[]) => {
      const step = this.#step.bind(this);
      return (async function* (): AsyncGenerator<T[]> {
        const items = all();
        // Two fetches, so that something can happen between them.
        const half = Math.ceil(items.length / 2);
        for (const some of [items.slice(0, half), items.slice(half)]) {
          if (some.length === 0) continue;
          yield await step(`fetch ${what}`, () => {
            if (session.ended) throw new Outage('57P01 terminating connection');
            return some;
          });
        }
      })();
    };
    session.touched = true;
    const now = this.#postgres.time;
    return {
      slot: slotOf(view),
      rows: () =>
        fetch('mirror', () =>
          [...view.mirror.values()].map((row) => ({ row, sub: subIn(row) ?? standInSub(row.username) })),
        ),
      tombstones: () =>
        fetch('tombstones', () =>
          [...view.tombstones]
            .filter(([, { deletedAt }]) => deletedAt > now - TOMBSTONE_MS)
            .map(([sub, { deletedAt }]) => ({ sub, deletedAt })),
        ),
    };
  }

  subsUnder(usernames: readonly string[]): Promise<Map<string, string | null>> {
    return this.#step('subs under', () => {
      const { mirror } = this.#postgres.database;
      const found = usernames.flatMap((username): [string, string | null][] => {
        const row = mirror.get(username);
        return row === undefined ? [] : [[username, subIn(row)]];
      });
      return new Map(found);
    });
  }
}

class MemoryTransaction implements LedgerTransaction {
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
        if (holder !== null && holder !== session) postgres.end(holder);
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
    return this.#later('new timeline', (database) => {
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
