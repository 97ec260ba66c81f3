/** What a crash test plays in: a feed whose mirror is audited, and a pool whose every state is written down. */
import { expect } from 'vitest';
import { observationTime } from '../../shared/clock.ts';
import { fingerprintOf } from '../../shared/fingerprint.ts';
import { SnapshotReader } from '../../shared/snapshot.ts';
import { rowOf } from '../../shared/user.ts';
import { installAudit, readAudit, readChangeLog, readMirror } from '../chaos/audit.ts';
import { type HistoryLine, historyOf } from '../chaos/history.ts';
import { inOrder, keptAliveHonestly, logAgrees, mirrorEqualsPool, onceEach } from '../chaos/judge.ts';
import { stateOfRecord } from '../chaos/state.ts';
import { churn } from '../emulator/churn.ts';
import { type Feed, type FileRedis, startFeed } from '../feed.ts';
import { until } from '../until.ts';

export interface Scene {
  readonly feed: Feed;
  /** So many changes to the pool, all of them written down. */
  change(steps: number): void;
  /** So many more users. */
  fill(users: number): void;
  /** Everything that the issue asks of a feed after a crash; it must be quiet. */
  expectWell(): Promise<void>;
}

/** @param users in the pool; none of them is in the mirror yet */
export async function setScene(redis: FileRedis, users: number): Promise<Scene> {
  const feed = await startFeed({ redis, settings: { POLL_INTERVAL: '300ms' } });
  await installAudit(feed.postgres);
  const { pool } = feed;
  const lines: HistoryLine[] = [{ at: Date.now(), truthful: true }];
  const known = new Set<string>();
  const noteNew = () => {
    const at = Date.now();
    for (const json of pool.records()) {
      const { sub, username, text } = stateOfRecord(json);
      if (known.has(sub)) continue;
      known.add(sub);
      lines.push({ at, sub, username, state: text });
    }
  };
  const steps = churn(pool, { seed: 7, weights: { disable: 0, enable: 0 } });
  const scene: Scene = {
    feed,
    fill(more) {
      pool.fill(more);
      noteNew();
    },
    change(count) {
      for (let i = 0; i < count; i++) {
        const at = Date.now();
        const { before, after, kind } = steps.next().value;
        if (before !== undefined && (kind === 'delete' || kind === 'reuse')) {
          const sub = before.Attributes?.find(({ Name }) => Name === 'sub')?.Value ?? '';
          lines.push({ at, sub, username: before.Username ?? '', state: null });
        }
        const user = pool.index.byUsername(after?.Username ?? '');
        if (user === undefined) continue;
        const { sub, username, text } = stateOfRecord(user.json);
        known.add(sub);
        lines.push({ at, sub, username, state: text });
      }
    },
    async expectWell() {
      const audit = await readAudit(feed.postgres);
      const history = historyOf(lines);
      const findings = [
        ...mirrorEqualsPool(await readMirror(feed.postgres), Array.from(pool.records(), stateOfRecord)),
        ...onceEach(audit),
        ...inOrder(audit, history),
        ...keptAliveHonestly(audit, history),
        ...logAgrees(await readChangeLog(feed.postgres), audit),
      ];
      expect(findings.slice(0, 5)).toEqual([]);
      await expectSnapshotAgrees(feed);
    },
  };
  scene.fill(users);
  return scene;
}

/** Pointer and slot tell one history, and the snapshot holds each user of the pool as he is, and nobody else. */
async function expectSnapshotAgrees(feed: Feed): Promise<void> {
  const tag = await feed.tag();
  const reader = new SnapshotReader(feed.redis, tag);
  const slot = await feed.slot();
  const { pointer } = await reader.read([]);
  expect(pointer).toMatchObject({ timeline: slot.timeline, commit: slot.commit, lsn: slot.lsn });
  expect(slot).toMatchObject({ state: 'streaming', resync_reason: null, users: feed.pool.size });
  const generation = pointer?.generation ?? '';
  const { buckets, entries } = await reader.geometry(generation);
  const held = await reader.buckets(
    generation,
    Array.from({ length: buckets }, (_, bucket) => bucket),
  );
  const fingerprints = (users: Iterable<readonly [string, string]>) => new Map([...users].sort());
  const wanted = Array.from(feed.pool.users(), (user) => {
    const row = rowOf(user);
    return [row.username, fingerprintOf(row, slot.timeline)] as const;
  });
  expect(fingerprints(held.map(({ entry }) => [entry.username, entry.fingerprint]))).toEqual(fingerprints(wanted));
  expect(entries).toBe(wanted.length);
}

/** Until a scan that begins after now is complete and applied. */
export async function completeScan(feed: Feed): Promise<void> {
  const began = await observationTime(feed.redis, await feed.tag());
  for (;;) {
    const { floor, complete } = await feed.scan();
    if (complete && floor > began) return;
  }
}

/** A dead replica's work is taken over within this time. */
export const TAKEOVER_MS = 15_000;

/**
 * Until the work of a writer that has died goes on: somebody has written to the slot.
 * @returns how long after its death
 */
export async function writingGoesOn(feed: Feed, died: number): Promise<number> {
  const version = () => feed.query<{ version: string }>('select xmin::text as version from cognito_feed.slots');
  const [before] = await version();
  await until('a writer that goes on', async () => (await version())[0]?.version !== before?.version);
  return performance.now() - died;
}

/** The same for a poller: somebody has asked Cognito for users. Call it before an heir is started. */
export async function pollingGoesOn(feed: Feed, died: number): Promise<number> {
  const { record } = feed.emulator;
  const before = record.requests['ListUsers'];
  await until('a poller that goes on', () => record.requests['ListUsers'] !== before);
  return performance.now() - died;
}
