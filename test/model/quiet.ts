/**
 * The end of a run: no more changes, the lists show the pool as it is, everybody is alive. What must hold then: convergence, silence, and a change log
 * that tells the mirror's history.
 */
import { isDeepStrictEqual } from 'node:util';
import { STALE_AGAIN_MS } from '../../services/writer/decide.ts';
import { type Row, rowOf } from '../../shared/user.ts';
import { agreed, checkSnapshot } from './agreement-check.ts';
import { EXACT, stateOf } from './hostile-pool.ts';
import { Random } from './random.ts';
import { Violation } from './scheduler.ts';
import type { World } from './world.ts';

/** Steps that a scan and all that is left over take at the very most. */
const STEPS_MOST = 30_000;
/** A scan that begins while an older timeline ends, or while leftovers are dropped, may have to be made again. */
const SCANS_MOST = 3;

/** @throws Violation */
export async function checkQuiet(world: World): Promise<void> {
  const { pool, postgres, scheduler } = world;
  scheduler.random = new Random(scheduler.steps);
  pool.lag = EXACT.lag;
  pool.failing = false;
  postgres.poison = new Set();
  // As an operator who has seen the held deletes and lets them go.
  world.guard = { count: null, percent: null };
  world.resyncIntervalMs = null;
  world.wantedScans.length = 0;
  // What the snapshot can't know: a hand's edit, and that a refused row would now be taken.
  if (world.editedByHand() || world.everPoisoned) {
    const { timeline } = postgres.database.slot;
    const another = () => {
      // A wish of before may be under way, and its end be taken for this one's.
      world.resyncWanted = true;
      return postgres.database.slot.timeline !== timeline;
    };
    await until(world, another, 'nobody heard the operator');
    world.resyncWanted = false;
  }

  await completeScan(world);
  checkConverged(world, true);
  scheduler.now += STALE_AGAIN_MS;
  await completeScan(world);
  checkConverged(world, false);
  checkSnapshot(world);

  const { log, memory, slot } = postgres.database;
  const before = { lines: log.length, writes: memory.writes, lsn: slot.lsn };
  await completeScan(world);
  const after = postgres.database;
  if (after.log.length !== before.lines || after.memory.writes !== before.writes || after.slot.lsn !== before.lsn)
    throw new Violation('a scan that found nothing new wrote something');
  checkLog(world);
}

async function until(world: World, done: () => boolean, otherwise: string): Promise<void> {
  for (let steps = 0; steps < STEPS_MOST; steps += 10) {
    if (done()) return;
    if ((await world.scheduler.go(10)) === 0) break;
  }
  if (!done()) throw new Violation(`${otherwise}: ${JSON.stringify(stuck(world))}`);
}

/** Slot and snapshot agree, and the pollers are told of their timeline. */
const stands = (world: World): boolean =>
  agreed(world) && world.redis.held.announced === world.postgres.database.slot.timeline;

const stuck = (world: World) =>
  [...world.redis.held.jobs.values()].map(({ id, queue, state, data }) => ({ id, queue, state, data }));

async function completeScan(world: World): Promise<void> {
  const reasons: (string | null)[] = [];
  for (let attempt = 0; attempt < SCANS_MOST; attempt++) {
    await until(world, () => stands(world), 'no timeline stands');
    world.scanEnds.length = 0;
    world.wantedScans.push({ name: 'quiet' });
    const ended = () => world.scanEnds.find(({ scan }) => scan.startsWith('quiet'));
    await until(
      world,
      () => ended() !== undefined && world.redis.held.jobs.size === 0,
      'work is left that nobody does',
    );
    if (ended()?.complete) return;
    reasons.push(ended()?.reason ?? null);
  }
  throw new Violation(`no scan is complete: ${reasons.join('; ')}`);
}

function checkConverged(world: World, staleMayWait: boolean): void {
  const { mirror } = world.postgres.database;
  const truth = new Map(world.pool.truth().map((user) => [user.Username ?? '', rowOf(user)]));
  for (const [username, row] of truth) {
    const mirrored = mirror.get(username);
    if (mirrored === undefined) throw new Violation(`${username} is missing in the mirror`);
    if (stateOf(mirrored) === stateOf(row)) continue;
    if (staleMayWait && (mirrored.updatedAt ?? 0) > (row.updatedAt ?? 0)) continue;
    throw new Violation(`${username} is not in the mirror as in the pool`);
  }
  for (const username of mirror.keys()) {
    if (!truth.has(username)) throw new Violation(`${username} is in the mirror and not in the pool`);
  }
}

/** Where nobody but the feed has written to the mirror, the log alone makes it. */
function checkLog({ postgres }: World): void {
  const { log, mirror, memory, mirrorId } = postgres.database;
  if (memory.editedIn !== null || mirrorId !== 1) return;
  const replayed = new Map<string, Row>();
  for (const line of log) {
    if (!isDeepStrictEqual(replayed.get(line.username) ?? null, line.old))
      throw new Violation(`the old row of ${line.op} ${line.username} at ${line.lsn} is not what was there`);
    if (line.new === null) replayed.delete(line.username);
    else replayed.set(line.username, line.new);
  }
  if (!isDeepStrictEqual(replayed, mirror)) throw new Violation('the change log does not make the mirror');
}
