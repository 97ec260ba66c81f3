/** One mirror's near real time, put together: the queue of hints, the worker that follows them, the hot lanes. */
import { setMaxListeners } from 'node:events';
import { type Job, type Queue, WaitingChildrenError } from 'bullmq';
import { type MirrorTag, queues } from '../../shared/keys.ts';
import type { Logger } from '../../shared/log.ts';
import { closeQueue, closeWorker, createQueue, createWorker } from '../../shared/queue.ts';
import type { Redis } from '../../shared/redis.ts';
import type { PoolSettings } from '../../shared/settings.ts';
import type { SnapshotReader } from '../../shared/snapshot.ts';
import { DeleteWindow } from './delete-window.ts';
import { Gatherer } from './gatherer.ts';
import type { RefreshJob } from './hint.ts';
import { HintQueue } from './hint-queue.ts';
import { walkLanes } from './hot-lanes.ts';
import type { Outbox } from './outbox.ts';
import type { PoolReader } from './pages.ts';
import { followHint, type RefreshDoors } from './refresh.ts';
import { answerHint, type RefreshAnswer } from './refresh-answer.ts';

export interface RefreshingOptions {
  readonly settings: PoolSettings;
  readonly tag: MirrorTag;
  readonly redis: Redis;
  readonly reader: PoolReader;
  readonly snapshot: SnapshotReader;
  readonly outbox: Outbox;
  readonly log: Logger;
  readonly timeline: () => string | null;
  /** Whether it walks hot lanes. */
  readonly listens: boolean;
  readonly onError: (error: Error, jobId: string | null) => void;
}

/** Looks that one replica has under way; the budget spaces their requests, so more would only wait. */
const LOOKS_AT_ONCE = 8;

/** The queue of one mirror's hints. */
export const refreshQueue = (tag: MirrorTag, redis: Redis): Queue<RefreshJob, unknown, string> =>
  createQueue<RefreshJob, unknown>(queues.refresh, tag, redis.client);

/** Follows hints and walks the lanes until the signal; what is under way is then finished. */
export class Refreshing {
  readonly hints: HintQueue;
  readonly window: DeleteWindow;
  readonly #options: RefreshingOptions;
  readonly #queue: Queue<RefreshJob, unknown, string>;

  constructor(options: RefreshingOptions) {
    this.#options = options;
    const { settings, tag, redis } = options;
    this.#queue = refreshQueue(tag, redis);
    this.hints = new HintQueue({ redis, tag, refreshes: this.#queue, pollIntervalMs: settings.pollIntervalMs });
    this.window = new DeleteWindow(redis, tag, {
      count: settings.deleteGuardCount,
      percent: settings.deleteGuardPercent,
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    // One for each look, lane and shard that waits for its place in the budget: more than Node takes for a leak.
    setMaxListeners(0, signal);
    const { settings, tag, redis, outbox, onError } = this.#options;
    const gatherer = new Gatherer((changes, timeline) => outbox.sendFirst(changes, timeline, null));
    const doors: RefreshDoors = { ...this.#options, gatherer, window: this.window, hints: this.hints };
    const process = (job: Job<RefreshJob, RefreshAnswer | null>, token: string) =>
      job.data.source === 'cli'
        ? answerHint(job, token, doors, signal)
        : followHint(job, token, doors).then(() => null);
    const following = createWorker<RefreshJob, RefreshAnswer | null>(
      queues.refresh,
      tag,
      redis.client,
      process,
      {
        onError: (error, jobId) => {
          if (!signal.aborted && !(error instanceof WaitingChildrenError)) onError(error, jobId);
        },
      },
      LOOKS_AT_ONCE,
    );
    const { hotLanes, hotIntervalMs } = settings;
    if (hotIntervalMs !== null && this.#options.listens)
      await walkLanes(hotLanes, hotIntervalMs, { ...doors, log: this.#options.log }, signal);
    else await aborted(signal);
    await closeWorker(following);
    await closeQueue(this.#queue);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
