/** A mirror's two doors, ledger and snapshot, as writer and command line open them alike. */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { keys, type MirrorTag } from '../../shared/keys.ts';
import type { Logger } from '../../shared/log.ts';
import type { Redis } from '../../shared/redis.ts';
import type { PoolSettings } from '../../shared/settings.ts';
import { PostgresLedger } from './postgres-ledger.ts';
import { RedisSnapshotStore } from './snapshot-store.ts';

export interface MirrorDoorsOptions {
  readonly settings: PoolSettings;
  readonly tag: MirrorTag;
  readonly postgres: pg.Pool;
  readonly redis: Redis;
  readonly log: Logger;
}

/** A rebuild that has not loaded anything for so long has stopped. */
const REBUILD_STILL_MS = 15_000;

export function openMirror({ settings, tag, postgres, redis, log }: MirrorDoorsOptions): {
  ledger: PostgresLedger;
  snapshot: RedisSnapshotStore;
} {
  const rebuildKey = keys.rebuild(tag);
  const snapshot = new RedisSnapshotStore(redis, tag, randomUUID, async () => {
    await redis.client.set(rebuildKey, '1', 'PX', REBUILD_STILL_MS);
  });
  const ledger = new PostgresLedger({
    postgres,
    pool: settings.poolId,
    target: settings.targetTable,
    changeLog: settings.changeRetentionMs !== null,
    onEnded: (pids) => log.warn({ pids }, 'ended sessions that a stopped process had left holding a lock'),
    rebuildMoves: async () => (await redis.client.exists(rebuildKey)) === 1,
  });
  return { ledger, snapshot };
}
