/**
 * How this project uses BullMQ: one place for its options, each with the reason.
 */
import { type ConnectionOptions, type Job, type JobsOptions, Queue, Worker } from 'bullmq';
import { backOffMs, sleep } from './clock.ts';
import type { MirrorTag } from './keys.ts';
import type { Redis, RedisClient } from './redis.ts';

/**
 * A dead worker's job is taken over when its lock has run out and the next stall check has come: at most LOCK_MS + 2 × STALL_CHECK_MS = 12 s.
 */
export const LOCK_MS = 6_000;
export const STALL_CHECK_MS = 3_000;
/** BullMQ's blocking read, seconds; shorter than the connection's socket time-out (redis.ts). */
const DRAIN_DELAY_S = 3;
/** Attempts and stalls don't count: work is never failed for good for having been interrupted. */
const UNLIMITED = 1_000_000_000;

/** ioredis's types differ between BullMQ's own copy and ours by exactOptionalPropertyTypes alone. */
const connectionOf = (client: RedisClient) => client as unknown as ConnectionOptions;

export function jobOptions(id: string, parent?: { id: string; queue: string }): JobsOptions {
  return {
    jobId: id,
    attempts: UNLIMITED,
    backoff: { type: 'custom' },
    removeOnComplete: true,
    removeOnFail: { count: 100 },
    // A child that fails for good makes its parent's scan incomplete, never stuck.
    ...(parent === undefined ? {} : { parent, ignoreDependencyOnFailure: true }),
    stackTraceLimit: 1,
  };
}

export function createQueue<Data, Result>(
  name: string,
  tag: MirrorTag,
  client: RedisClient,
): Queue<Data, Result, string> {
  const queue = new Queue<Data, Result, string>(name, {
    connection: connectionOf(client),
    prefix: tag,
    // Events are for dashboards: keep few of them.
    streams: { events: { maxLen: 100 } },
    skipMetasUpdate: false,
  });
  queue.on('error', () => {});
  return queue as Queue<Data, Result, string>;
}

export interface WorkerHooks {
  /** Something is wrong with the connection, or a job ended in an error and will come again. */
  readonly onError: (error: Error, jobId: string | null) => void;
}

/** A job was not renewed in time, so another replica may have it. */
class LockLost extends Error {
  override readonly name = 'LockLost';
}

/** BullMQ gives this error neither name nor code, and a job's id in its message (lock-manager.js). */
const named = (error: Error): Error =>
  error.message.startsWith('could not renew lock for job') ? new LockLost(error.message) : error;

export function createWorker<Data, Result>(
  name: string,
  tag: MirrorTag,
  client: RedisClient,
  process: (job: Job<Data, Result>, token: string) => Promise<Result>,
  hooks: WorkerHooks,
  concurrency = 1,
): Worker<Data, Result> {
  const worker = new Worker<Data, Result>(name, (job, token) => process(job, token ?? ''), {
    connection: connectionOf(client),
    prefix: tag,
    concurrency,
    lockDuration: LOCK_MS,
    stalledInterval: STALL_CHECK_MS,
    maxStalledCount: UNLIMITED,
    drainDelay: DRAIN_DELAY_S,
    runRetryDelay: 1_000,
    settings: { backoffStrategy: (attempts: number) => Math.round(backOffMs(attempts - 1, 250, 30_000)) },
  });
  worker.on('error', (error) => hooks.onError(named(error), null));
  worker.on('failed', (job, error) => hooks.onError(error, job?.id ?? null));
  return worker;
}

/**
 * The id of a batch's job says how much is in it, so that the queue's load can be summed up without reading the jobs.
 * BullMQ ignores an id that it has seen: `unique` must never come again.
 */
export const batchId = (unique: string, changes: number, bytes: number): string => `${unique}.${changes}.${bytes}`;

/** Changes and bytes that wait in a queue of batches, by the ids of its jobs. */
export async function queueLoad(queue: Queue): Promise<{ changes: number; bytes: number; jobs: number }> {
  const ids = await queue.getRanges(['wait', 'active', 'delayed'], 0, -1);
  let changes = 0;
  let bytes = 0;
  for (const id of ids) {
    const match = /\.(\d+)\.(\d+)$/.exec(id);
    if (match === null) continue;
    changes += Number(match[1]);
    bytes += Number(match[2]);
  }
  return { changes, bytes, jobs: ids.length };
}

/** The jobs under way get so long to end; BullMQ's own `close` waits for ever. */
const CLOSE_GRACE_MS = 6_000;
const QUEUE_GRACE_MS = 500;

/**
 * Takes no more jobs, waits for those under way, and closes. Where they take too long, or Redis is away, it is left to end by itself: its jobs come
 * again. (BullMQ's `disconnect` would end the connection that the whole process shares.)
 */
export async function closeWorker(worker: Worker): Promise<void> {
  const closed = worker.close().catch(() => undefined);
  await Promise.race([closed, sleep(CLOSE_GRACE_MS)]);
}

/** A queue holds nothing that is under way: where Redis is away it is left behind. */
export async function closeQueue(queue: Queue): Promise<void> {
  await Promise.race([queue.close().catch(() => undefined), sleep(QUEUE_GRACE_MS)]);
}

/** KEYS: the job. ARGV: what was found there, and what is put in its place. */
const REPLACE_LUA = `
if redis.call('HGET', KEYS[1], 'data') ~= ARGV[1] then return 0 end
return redis.call('HSET', KEYS[1], 'data', ARGV[2])
`;

/**
 * A job whose payload is no JSON never reaches a processor: BullMQ fails on it and gives it to the next worker, for ever. Such payloads are put out
 * of the world, so that the next one to get the job can park it.
 * @returns the ids of the jobs
 */
export async function blankBroken(redis: Redis, tag: MirrorTag, queue: string): Promise<string[]> {
  const blanked: string[] = [];
  for (const id of await redis.client.lrange(`${tag}:${queue}:active`, 0, -1)) {
    const key = `${tag}:${queue}:${id}`;
    const data = await redis.client.hgetBuffer(key, 'data');
    if (data === null || isJson(data.toString())) continue;
    await redis.script(REPLACE_LUA, [key], [data, '{}']);
    blanked.push(id);
  }
  return blanked;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
