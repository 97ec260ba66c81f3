/**
 * A new timeline on demand, whether or not writers run beside: they wait for each other as they always do.
 */
import { randomUUID } from 'node:crypto';
import { observationTime, sleep } from '../../shared/clock.ts';
import { agree } from './agreement.ts';
import { type MirrorDoorsOptions, openMirror } from './mirror-doors.ts';

/** Between two looks whether another process' rebuild is done. */
const WAIT_MS = 200;

export interface Resynced {
  readonly timeline: string;
  /** Rows of the mirror when its snapshot was built. */
  readonly users: number;
}

/** Begins a new timeline and returns when its snapshot stands. @throws what Postgres and Redis throw; the signal's reason */
export async function resync(options: MirrorDoorsOptions, reason: string, signal: AbortSignal): Promise<Resynced> {
  const { tag, redis, log } = options;
  const { ledger, snapshot } = openMirror(options);
  const doors = {
    ledger,
    snapshot,
    clock: () => observationTime(redis, tag),
    newId: randomUUID,
    wait: async () => {
      await sleep(WAIT_MS, signal);
      signal.throwIfAborted();
    },
    onResync: (event: 'begun' | 'done', why: string, users: number) =>
      log.info({ reason: why, users }, event === 'begun' ? 'a new timeline begins' : 'its snapshot stands'),
  };
  const { timeline } = await ledger.slot();
  signal.throwIfAborted();
  await agree(doors, { reason, timeline });
  const now = await ledger.slot();
  return { timeline: now.timeline, users: now.users };
}
