/**
 * Pool, snapshot and mirror compared, user by user: 56 bytes a user of this process's memory, and the usernames where they aren't the subs.
 *
 * What they disagree about in the first pass is looked at again before it counts: snapshot and mirror as of one commit; the pool by an exact look
 * for each user, or, where those are too many, by another walk; and after the next scan of a deployment that is about to make one.
 */
import type pg from 'pg';
import { announced } from '../../../shared/announcement.ts';
import { sleep } from '../../../shared/clock.ts';
import type { Fingerprint } from '../../../shared/fingerprint.ts';
import { fingerprintOf } from '../../../shared/fingerprint.ts';
import type { MirrorTag } from '../../../shared/keys.ts';
import { quoteTable, transaction } from '../../../shared/postgres.ts';
import type { Redis } from '../../../shared/redis.ts';
import type { PoolSettings } from '../../../shared/settings.ts';
import { type Entry, GROUPS, SnapshotReader } from '../../../shared/snapshot.ts';
import { isStandIn } from '../../../shared/user.ts';
import type { PoolReader } from '../../poller/pages.ts';
import { exactLook } from '../../poller/proof.ts';
import { mirrorRows } from '../../writer/mirror-reader.ts';
import { disagreements, drifts, type Kind, kindOf, type Standing } from './differences.ts';
import { type LookDoors, type Looked, lookAgain, TimelineEnded } from './look.ts';
import { nextScan } from './next-scan.ts';
import { type Noted, Pile } from './pile.ts';
import { walkPool } from './walk-pool.ts';

/** As `verify --json` prints it. */
export interface Comparison {
  readonly pool: string;
  readonly equal: boolean;
  /** Of the pool. */
  readonly users: number;
  readonly missing: number;
  readonly ghosts: number;
  readonly different: number;
  readonly snapshotDrift: number;
  readonly heldDeletes: number;
  /** Usernames of some whom the three disagree about. */
  readonly examples: readonly string[];
}

export interface CompareOptions {
  readonly settings: PoolSettings;
  readonly tag: MirrorTag;
  readonly postgres: pg.Pool;
  readonly redis: Redis;
  readonly reader: PoolReader;
  readonly signal: AbortSignal;
  readonly onProgress: (users: number) => void;
}

const EXAMPLES_MOST = 20;
/** Users looked for one by one; beyond it another walk over the pool costs fewer requests. */
export const EXACT_LOOKS_MOST = 1_000;
const SIDE_BY_SIDE = 4;
/** Users in one look at mirror and snapshot. */
const PIECE = 500;
const BUCKETS_AT_ONCE = 32;
/** How often those that still disagree are looked at once more after a scan of a running deployment. */
const ROUNDS_MOST = 3;
/** Resyncs that may cut a comparison short before it gives up. */
const TIMELINES_MOST = 5;
/** A rebuild of the snapshot that is under way is waited for so long. */
const RESYNC_MOST_MS = 60_000;
const RESYNC_LOOK_MS = 250;
/** Stands for the fingerprint of whom the pool did not show. */
const NOBODY = '0000000000000000' as Fingerprint;

/** @throws PoolFailure, and what Postgres and Redis throw */
export async function compare(options: CompareOptions): Promise<Comparison> {
  for (let timelines = 1; ; timelines++) {
    try {
      return await compareOnce(options);
    } catch (error) {
      if (!(error instanceof TimelineEnded) || timelines >= TIMELINES_MOST) throw error;
    }
  }
}

/** What one look, or round of looks, has found. */
interface Found {
  readonly counts: Record<Kind, number>;
  readonly examples: string[];
  /** Those that count unless the next look clears them. */
  readonly suspects: Pile;
}

const nothingFound = (): Found => ({
  counts: { missing: 0, ghost: 0, different: 0 },
  examples: [],
  suspects: new Pile(),
});

async function compareOnce(options: CompareOptions): Promise<Comparison> {
  const { settings, tag, postgres, redis, reader, signal, onProgress } = options;
  const doors: LookDoors = {
    postgres,
    snapshot: new SnapshotReader(redis, tag),
    pool: settings.poolId,
    mirror: quoteTable(settings.targetTable),
    signal,
    patience: { lostAt: null },
  };
  const timeline = await timelineOf(options);
  const inPool = await walkPool(reader, timeline, onProgress);
  const inMirror = await readMirror(doors, timeline);
  const held = await heldSubs(postgres, settings.poolId);

  const snapshotDrift = { count: 0, examples: [] as string[] };
  const standIns = new Set<string>();
  let found = nothingFound();
  for (let group = 0; group < GROUPS; group++) {
    const entries = await entriesOf(doors.snapshot, group);
    for (const piece of pieces(disagreements(inPool.group(group), inMirror.group(group), entries))) {
      for (const looked of await lookAgain(piece, timeline, doors)) {
        // A hand-made copy is met twice: as a row, and by its entry.
        if (isStandIn(looked.sub) && standIns.has(looked.sub)) continue;
        if (isStandIn(looked.sub)) standIns.add(looked.sub);
        if (drifts(looked)) {
          snapshotDrift.count++;
          example(snapshotDrift.examples, looked);
        }
        note(looked, held, found);
      }
    }
  }
  for (let round = 0; round < ROUNDS_MOST && found.suspects.size > 0; round++) {
    if (round > 0 && !(await nextScan(redis, tag, settings.pollIntervalMs, signal))) break;
    found = await roundOf(found.suspects, timeline, held, reader, doors);
  }
  const { missing, ghost, different } = found.counts;
  return {
    pool: settings.poolId,
    equal: missing + ghost + different + snapshotDrift.count === 0,
    users: inPool.size,
    missing,
    ghosts: ghost,
    different,
    snapshotDrift: snapshotDrift.count,
    heldDeletes: held.size,
    examples: [...new Set([...found.examples, ...snapshotDrift.examples])].slice(0, EXAMPLES_MOST),
  };
}

/** The pool is asked again for each suspect, then mirror and snapshot. */
async function roundOf(
  suspects: Pile,
  timeline: string,
  held: ReadonlySet<string>,
  reader: PoolReader,
  doors: LookDoors,
): Promise<Found> {
  const found = nothingFound();
  const walked = suspects.size > EXACT_LOOKS_MOST ? await walkPool(reader, timeline, () => undefined) : null;
  for (let group = 0; group < GROUPS; group++) {
    const some = [...suspects.group(group)];
    if (some.length === 0) continue;
    const shown =
      walked === null
        ? await lookFor(some, reader, timeline)
        : new Map([...walked.group(group)].map((noted) => [noted.sub, noted]));
    const standings = some.map(
      ({ sub, username }): Standing => ({
        sub,
        pool: shown.get(sub) ?? null,
        // Only the name counts here: what lies under it is read anew.
        row: { username, fingerprint: NOBODY },
        entry: null,
      }),
    );
    for (const piece of pieces(standings))
      for (const looked of await lookAgain(piece, timeline, doors)) note(looked, held, found);
  }
  return found;
}

function note(looked: Looked, held: ReadonlySet<string>, { counts, examples, suspects }: Found): void {
  const kind = kindOf(looked);
  if (kind === null) return;
  // Held deletes are an operator's decision, not drift: neither who is to go, nor who waits for his username.
  if (kind === 'ghost' && held.has(looked.sub)) return;
  if (kind === 'missing' && looked.occupiedBy !== null && held.has(looked.occupiedBy)) return;
  counts[kind]++;
  example(examples, looked);
  const { sub, pool } = looked;
  suspects.add({ sub, username: usernameOf(looked), fingerprint: pool?.fingerprint ?? NOBODY });
}

const usernameOf = ({ sub, pool, row, entry }: Standing): string =>
  row?.username ?? pool?.username ?? entry?.username ?? sub;

function example(examples: string[], standing: Standing): void {
  if (examples.length < EXAMPLES_MOST) examples.push(usernameOf(standing));
}

async function lookFor(some: readonly Noted[], reader: PoolReader, timeline: string): Promise<Map<string, Noted>> {
  const shown = new Map<string, Noted>();
  for (let at = 0; at < some.length; at += SIDE_BY_SIDE) {
    const looks = some.slice(at, at + SIDE_BY_SIDE).map(async (suspect) => {
      const look = await exactLook(reader, suspect, timeline);
      if (!look.shown) return;
      const { row, fingerprint } = look.observed;
      shown.set(suspect.sub, { sub: suspect.sub, username: row.username, fingerprint });
    });
    await Promise.all(looks);
  }
  return shown;
}

async function readMirror({ postgres, mirror }: LookDoors, timeline: string): Promise<Pile> {
  const pile = new Pile();
  await transaction(
    postgres,
    async (client) => {
      for await (const rows of mirrorRows(client, mirror))
        for (const { row, sub } of rows)
          pile.add({ sub, username: row.username, fingerprint: fingerprintOf(row, timeline) });
    },
    'repeatable read',
  );
  return pile;
}

async function entriesOf(snapshot: SnapshotReader, group: number): Promise<{ sub: string; entry: Entry }[]> {
  const { pointer } = await snapshot.read([]);
  if (pointer === null) return [];
  const { buckets } = await snapshot.geometry(pointer.generation);
  const entries: { sub: string; entry: Entry }[] = [];
  for (let first = group; first < buckets; first += GROUPS * BUCKETS_AT_ONCE) {
    const numbers: number[] = [];
    for (let bucket = first; bucket < buckets && numbers.length < BUCKETS_AT_ONCE; bucket += GROUPS)
      numbers.push(bucket);
    entries.push(...(await snapshot.buckets(pointer.generation, numbers)));
  }
  return entries;
}

/** The timeline that stands; one whose snapshot a living writer is about to build is waited for. */
async function timelineOf({ settings, tag, postgres, redis, signal }: CompareOptions): Promise<string> {
  for (let waited = 0; ; waited += RESYNC_LOOK_MS) {
    const { rows } = await postgres.query<{ timeline: string; owed: boolean }>(
      'select timeline::text, resync_reason is not null as owed from cognito_feed.slots where pool = $1',
      [settings.poolId],
    );
    const { timeline = '', owed = false } = rows[0] ?? {};
    const written = owed && waited < RESYNC_MOST_MS && (await announced(redis)).some((mirror) => mirror.tag === tag);
    if (!written) return timeline;
    await sleep(RESYNC_LOOK_MS, signal);
    signal.throwIfAborted();
  }
}

async function heldSubs(postgres: pg.Pool, pool: string): Promise<Set<string>> {
  const { rows } = await postgres.query<{ sub: string }>('select sub from cognito_feed.held_deletes where pool = $1', [
    pool,
  ]);
  return new Set(rows.map(({ sub }) => sub));
}

function* pieces<T>(all: readonly T[]): Generator<T[]> {
  for (let at = 0; at < all.length; at += PIECE) yield all.slice(at, at + PIECE);
}
