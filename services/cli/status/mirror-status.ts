/**
 * How one mirror stands, from Postgres and Redis together: what `status --json` prints. What can't be reached is null and named in `warnings`.
 */
import type pg from 'pg';
import { sleep } from '../../../shared/clock.ts';
import type { MirrorTag } from '../../../shared/keys.ts';
import { withClient } from '../../../shared/postgres.ts';
import type { Redis } from '../../../shared/redis.ts';
import { identify } from '../../writer/slot-setup.ts';
import { type RedisFacts, RedisUnreached, readPointer, readRedis } from './redis-facts.ts';
import { readSlots, type SlotFacts, tableName } from './slot-facts.ts';
import { type Disagreement, disagreement, warningsOf } from './warnings.ts';

/** In the order of the contract. Times are ISO 8601, UTC; LSNs and counts numbers. */
export interface MirrorStatus {
  readonly pool: string;
  readonly target: string;
  readonly state: 'copying' | 'streaming' | null;
  readonly asOf: string | null;
  readonly stalenessSeconds: number | null;
  readonly users: number | null;
  readonly confirmedLsn: number | null;
  readonly snapshotLsn: number | null;
  readonly timeline: string | null;
  readonly queuedChanges: number | null;
  readonly lastScan: ScanStatus | null;
  readonly heldDeletes: number | null;
  readonly rejects: number | null;
  readonly publishers: readonly { readonly name: string; readonly lagChanges: number }[] | null;
  readonly warnings: readonly string[];
}

export interface ScanStatus {
  readonly startedAt: string;
  readonly seconds: number | null;
  readonly pages: number | null;
  readonly users: number | null;
  readonly complete: boolean;
}

export interface StatusDoors {
  readonly postgres: pg.Pool;
  /** Or why it can't be asked, in a line. */
  readonly redis: Redis | string;
  /** The deployment's POLL_INTERVAL: what is stale depends on it. */
  readonly pollIntervalMs: number;
}

/** Slot and pointer are read one after the other: a commit in between looks like a disagreement, and is gone at the next look. */
const LOOKS = 4;
const LOOK_AGAIN_MS = 150;

/**
 * @param pools null: every pool that has a slot in this database
 * @throws what Postgres throws; a failing Redis only leaves nulls
 */
export async function readStatus(pools: readonly string[] | null, doors: StatusDoors): Promise<MirrorStatus[]> {
  const slots = await withClient(doors.postgres, (client) => readSlots(client, pools));
  const statuses: MirrorStatus[] = [];
  for (const slot of slots) statuses.push(await statusOf(slot, doors));
  return statuses;
}

async function statusOf(first: SlotFacts, doors: StatusDoors): Promise<MirrorStatus> {
  const { slot, redis, differs, unreached } = await look(first, doors);
  return {
    pool: slot.pool,
    target: slot.target,
    state: slot.state,
    asOf: slot.asOf?.toISOString() ?? null,
    stalenessSeconds: slot.stalenessSeconds,
    users: slot.users,
    confirmedLsn: slot.confirmedLsn,
    snapshotLsn: redis?.pointer?.lsn ?? null,
    timeline: slot.history?.timeline ?? null,
    queuedChanges: redis?.queuedChanges ?? null,
    lastScan: lastScan(slot, redis),
    heldDeletes: slot.heldDeletes,
    rejects: slot.rejects,
    publishers: slot.publishers,
    warnings: [
      ...(unreached === null ? [] : [`${unreached}: snapshotLsn and queuedChanges are unknown`]),
      ...warningsOf(slot, redis, differs, doors.pollIntervalMs),
    ],
  };
}

interface Look {
  readonly slot: SlotFacts;
  readonly redis: RedisFacts | null;
  /** null also where nobody can tell. */
  readonly differs: Disagreement | null;
  /** Why `redis` is null. */
  readonly unreached: string | null;
}

async function look(slot: SlotFacts, { postgres, redis }: StatusDoors): Promise<Look> {
  if (typeof redis === 'string') return withoutRedis(slot, redis);
  const tag = await identify(postgres, slot.pool, tableName(slot.target));
  try {
    return { ...(await settled(slot, await readRedis(redis, tag), postgres, redis, tag)), unreached: null };
  } catch (error) {
    if (error instanceof RedisUnreached) return withoutRedis(slot, error.message);
    throw error;
  }
}

/** What stands in the way by Postgres alone. */
function withoutRedis(slot: SlotFacts, unreached: string): Look {
  const differs = slot.history === null ? null : disagreement(slot.history, null);
  return { slot, redis: null, differs: differs === 'no snapshot' ? null : differs, unreached };
}

async function settled(first: SlotFacts, found: RedisFacts, postgres: pg.Pool, redis: Redis, tag: MirrorTag) {
  let slot = first;
  let facts = found;
  for (let looks = 1; ; looks++) {
    const differs = slot.history === null ? null : disagreement(slot.history, facts.pointer);
    if (differs === null || looks === LOOKS) return { slot, redis: facts, differs };
    await sleep(LOOK_AGAIN_MS);
    const [again] = await withClient(postgres, (client) => readSlots(client, [slot.pool]));
    slot = again ?? slot;
    facts = { ...facts, pointer: await readPointer(redis, tag) };
  }
}

/** The later one of what Redis remembers, complete or not, and of what Postgres has seen applied. */
function lastScan(slot: SlotFacts, redis: RedisFacts | null): ScanStatus | null {
  const remembered = redis?.lastScan ?? null;
  const applied = slot.lastScanAt;
  if (remembered !== null && (applied === null || remembered.floor >= applied.getTime())) {
    const { floor, seconds, pages, users, complete } = remembered;
    return { startedAt: new Date(floor).toISOString(), seconds, pages, users, complete };
  }
  if (applied === null) return null;
  return {
    startedAt: applied.toISOString(),
    seconds: slot.lastScanSeconds,
    pages: slot.history?.lastScanPages ?? null,
    users: slot.history?.lastScanUsers ?? null,
    complete: true,
  };
}

/** A pool that the settings name and that has no slot, or whose Postgres can't be reached. */
export function unknownStatus(pool: string, target: string, warning: string): MirrorStatus {
  return {
    pool,
    target,
    state: null,
    asOf: null,
    stalenessSeconds: null,
    users: null,
    confirmedLsn: null,
    snapshotLsn: null,
    timeline: null,
    queuedChanges: null,
    lastScan: null,
    heldDeletes: null,
    rejects: null,
    publishers: null,
    warnings: [warning],
  };
}
