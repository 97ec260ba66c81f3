/** What any door to the snapshot must do alike, and a long random use of it whose answers can be compared. */
import { createHash } from 'node:crypto';
import type { Learned } from '../../services/writer/learned.ts';
import type { SnapshotStore } from '../../services/writer/snapshot-store.ts';
import type { Fingerprint } from '../../shared/fingerprint.ts';
import { LSN_ZERO } from '../../shared/lsn.ts';
import { bucketGroup, type Entry, encodeSub, GROUPS, type Known } from '../../shared/snapshot.ts';
import { Random } from './random.ts';

/** The poller's half of the door. */
export interface SnapshotWalk {
  geometry(generation: string): Promise<{ buckets: number; entries: number }>;
  buckets(generation: string, buckets: readonly number[]): Promise<{ sub: string; entry: Entry }[]>;
}

export interface SnapshotDoor {
  readonly store: SnapshotStore;
  readonly walk: SnapshotWalk;
}

const digits = (text: string): string => createHash('sha256').update(text).digest('hex');

/** UUIDs, and subs that are none: short, of sixteen bytes with their NUL, long, a stand-in. */
export function subOfNumber(n: number): string {
  const hex = digits(`sub ${n}`);
  if (n % 10 === 7)
    return ['s', `fifteen-${String(n).padStart(7, '0')}`, `?${hex}`, `long-${hex}`][(n / 10) & 3] + String(n);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

const entryOf = (n: number, observedAt: number): Entry => ({
  observedAt,
  fingerprint: digits(`fingerprint ${n} ${observedAt}`).slice(0, 16) as Fingerprint,
  username: n % 3 === 0 ? subOfNumber(n) : `user-${n}-ä`,
});

export const put = (n: number, observedAt: number): Learned => ({
  op: 'put',
  sub: subOfNumber(n),
  entry: entryOf(n, observedAt),
});

/** All that a generation holds, found as the poller finds who is missing: group by group, bucket by bucket. */
export async function walked({ walk }: SnapshotDoor, generation: string): Promise<Map<string, Entry>> {
  const { buckets } = await walk.geometry(generation);
  const all = new Map<string, Entry>();
  for (let group = 0; group < GROUPS; group++) {
    const numbers: number[] = [];
    for (let bucket = group; bucket < buckets; bucket += GROUPS) numbers.push(bucket);
    for (const { sub, entry } of await walk.buckets(generation, numbers)) {
      if (bucketGroup(encodeSub(sub)) !== group) throw new Error(`${sub} is in another group's bucket`);
      if (all.has(sub)) throw new Error(`${sub} is in two buckets`);
      all.set(sub, entry);
    }
  }
  return all;
}

/** Builds a snapshot of so many users and points to it. */
export async function built({ store }: SnapshotDoor, users: number, at: number): Promise<string> {
  const generation = await store.newGeneration();
  for (let from = 0; from < users; from += 2_000) {
    const some = Array.from({ length: Math.min(2_000, users - from) }, (_, i) => put(from + i, at));
    const skipped = await store.load(generation, some);
    if (skipped.length > 0) throw new Error(`${skipped.length} were there`);
  }
  await store.point({ timeline: 't', generation, commit: 'c0', lsn: LSN_ZERO });
  return generation;
}

/**
 * A long random use; each answer in turn, so that two doors' can be compared. Times are offsets from `at`.
 */
export async function randomUse(door: SnapshotDoor, users: number, at: number, seed: number): Promise<unknown[]> {
  const random = new Random(seed);
  const { store } = door;
  const answers: unknown[] = [];
  let commit = 0;
  for (let turn = 0; turn < 60; turn++) {
    const subs = new Set(Array.from({ length: 1 + random.below(300) }, () => random.below(users * 2)));
    const learned = [...subs].map((n): Learned => {
      const kind = random.below(10);
      if (kind < 6) return put(n, at + turn);
      // Every other one is so old that the next step forgets it.
      if (kind < 8) return { op: 'delete', sub: subOfNumber(n), deletedAt: at + (turn % 2 === 0 ? 0 : -61 * 60_000) };
      if (kind < 9) return { op: 'forget', sub: subOfNumber(n) };
      const { fingerprint } = entryOf(n, at);
      return { op: 'stale', sub: subOfNumber(n), stale: { fingerprint, firstObservedAt: at + turn } };
    });
    const from = random.chance(8) ? `c${commit + 7}` : `c${commit}`;
    const to = random.chance(10) ? `c${commit}` : `c${commit + 1}`;
    const timeline = random.chance(12) ? 'another' : 't';
    const answer = await store.advance(timeline, from, to, LSN_ZERO, learned);
    if (answer === 'advanced') commit++;
    const view = await store.read([...subs].map(subOfNumber));
    answers.push(answer, view.pointer?.commit, view.known satisfies readonly Known[]);
  }
  return answers;
}
