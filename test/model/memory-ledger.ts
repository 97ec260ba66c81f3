/** The ledger's door in memory: transactions, the slot without a lock, and the mirror as one instant shows it for a rebuild. */

import type { Ledger, LedgerTransaction, RebuildSource, Slot } from '../../services/writer/ledger.ts';
import { TOMBSTONE_MS } from '../../services/writer/snapshot-store.ts';
import { standInSub } from '../../shared/user.ts';
import { copyOf, type Database, type MemoryPostgres, type Session, slotOf, subIn } from './memory-postgres.ts';
import { MemoryTransaction } from './memory-transaction.ts';
import { Outage, type Process } from './scheduler.ts';

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
      await this.#rollBack(session);
      throw error;
    }
  }

  /** A client whose rollback fails is closed, which ends its session too (shared/postgres.ts). */
  async #rollBack(session: Session): Promise<void> {
    const end = () => this.#postgres.end(session);
    await this.#step('rollback', end).catch(end);
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
        else if (!holder.owner.running) postgres.terminate(holder);
        return postgres.rebuilder === session;
      });
      if (taken) await work(this.#source(session, session.view as Database));
      await this.#step('commit', () => {
        if (session.ended) throw new Outage('57P01 terminating connection');
        postgres.commit(session);
      });
      return taken;
    } catch (error) {
      await this.#rollBack(session);
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
}
