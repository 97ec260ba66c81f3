/** Everything that one run has: the two servers, the pool, and ids. Replicas and checks share it. */
import type { GuardLimits } from '../../shared/guard.ts';
import { HostilePool } from './hostile-pool.ts';
import { MemoryPostgres } from './memory-postgres.ts';
import { MemoryRedis } from './memory-redis.ts';
import { Scheduler } from './scheduler.ts';

/** What its id begins with. The last one is of those that must be complete. */
export type ScanName = 'scan' | 'sharded' | 'quiet';

/** Of what a scan's last word was. */
export interface ScanEnd {
  readonly scan: string;
  readonly floor: number;
  readonly complete: boolean;
  readonly reason: string | null;
}

export class World {
  readonly scheduler = new Scheduler();
  readonly redis = new MemoryRedis(this.scheduler);
  readonly pool = new HostilePool();
  readonly postgres: MemoryPostgres;
  guard: GuardLimits = { count: 3, percent: 50 };
  resyncIntervalMs: number | null = null;
  /** Scans and refreshes that somebody asked for and no poller has begun. */
  readonly wantedScans: { readonly name: ScanName }[] = [];
  readonly wantedRefreshes: { readonly username: string }[] = [];
  /** An operator's `resync`, until a writer hears it. */
  resyncWanted = false;
  /** How often Redis or Postgres went back or lost everything. */
  losses = 0;
  /** When Redis last came back as it had been before: observation time. */
  redisWentBackAt = 0;
  /** A row was refused once: it is tried again when a resync comes. */
  everPoisoned = false;
  readonly scanEnds: ScanEnd[] = [];
  #ids = 0;

  constructor() {
    this.postgres = new MemoryPostgres(this.scheduler, [this.newId('t'), this.newId('c')]);
  }

  /** Whether a hand has edited the mirror since the snapshot was built from it: the snapshot can't know. */
  editedByHand(): boolean {
    const { slot, memory } = this.postgres.database;
    return memory.editedIn === slot.timeline;
  }

  newId(kind: string): string {
    return `${kind}${++this.#ids}`;
  }
}
