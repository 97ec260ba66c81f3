/**
 * What Redis says of a mirror: whether a writer announces it, how far the snapshot is, what waits, how the last scan ended. Only reads.
 */
import { QueueKeys } from 'bullmq';
import { announced } from '../../../shared/announcement.ts';
import { sleep } from '../../../shared/clock.ts';
import { oneLine } from '../../../shared/errors.ts';
import { type LaneRecord, readHints } from '../../../shared/hint-record.ts';
import { type MirrorTag, queues } from '../../../shared/keys.ts';
import { evictionWarning, type Redis } from '../../../shared/redis.ts';
import { type LastScan, readScans } from '../../../shared/scan-record.ts';
import { type Pointer, SnapshotReader } from '../../../shared/snapshot.ts';

export interface RedisFacts {
  /** Whether a writer of this mirror lives. */
  readonly writer: boolean;
  /** null: there is no snapshot. */
  readonly pointer: Pointer | null;
  readonly queuedChanges: number;
  /** Complete or not; null: none is remembered. */
  readonly lastScan: LastScan | null;
  /** The hot lanes, as they were last walked. */
  readonly lanes: readonly LaneRecord[];
  /** A line where Redis may throw keys away. */
  readonly eviction: string | null;
}

/** Redis did not answer, or not as it should; the message is one line without values. */
export class RedisUnreached extends Error {
  override readonly name = 'RedisUnreached';
}

/** Our client waits for an outage to end; whoever asks for a status doesn't. */
const PATIENCE_MS = 3_000;

/** @throws RedisUnreached */
export const readRedis = (redis: Redis, tag: MirrorTag): Promise<RedisFacts> => inTime(redis, () => read(redis, tag));

/** @throws RedisUnreached */
export const readPointer = (redis: Redis, tag: MirrorTag): Promise<Pointer | null> =>
  inTime(redis, () => pointerOf(redis, tag));

async function inTime<T>(redis: Redis, work: () => Promise<T>): Promise<T> {
  const done = new AbortController();
  let lastError: unknown = null;
  const note = (error: unknown) => {
    lastError = error;
  };
  redis.client.on('error', note);
  try {
    const late = sleep(PATIENCE_MS, done.signal).then(() => {
      if (!done.signal.aborted) throw lastError ?? new RedisUnreached('Redis does not answer: check REDIS_URL');
    });
    late.catch(() => undefined);
    return (await Promise.race([work(), late])) as T;
  } catch (error) {
    throw error instanceof RedisUnreached ? error : new RedisUnreached(`Redis: ${oneLine(error)}`, { cause: error });
  } finally {
    done.abort();
    redis.client.off('error', note);
  }
}

async function read(redis: Redis, tag: MirrorTag): Promise<RedisFacts> {
  const [mirrors, pointer, queuedChanges, { last }, { lanes }, eviction] = await Promise.all([
    announced(redis),
    pointerOf(redis, tag),
    readQueue(redis, tag),
    readScans(redis, tag),
    readHints(redis, tag),
    evictionWarning(redis),
  ]);
  const writer = mirrors.some((mirror) => mirror.tag === tag);
  return { writer, pointer, queuedChanges, lastScan: last, lanes, eviction };
}

async function pointerOf(redis: Redis, tag: MirrorTag): Promise<Pointer | null> {
  return (await new SnapshotReader(redis, tag).read([])).pointer;
}

/** A batch's id says how many changes are in it (`batchId`). Not through a BullMQ Queue, which writes to Redis when it is made. */
async function readQueue(redis: Redis, tag: MirrorTag): Promise<number> {
  const key = new QueueKeys(tag).getKeys(queues.changes);
  const [waiting, active, delayed] = await Promise.all([
    redis.client.lrange(key['wait'] ?? '', 0, -1),
    redis.client.lrange(key['active'] ?? '', 0, -1),
    redis.client.zrange(key['delayed'] ?? '', '0', '-1'),
  ]);
  let changes = 0;
  for (const id of [...waiting, ...active, ...delayed]) changes += Number(/\.(\d+)\.\d+$/.exec(id)?.[1] ?? 0);
  return changes;
}
