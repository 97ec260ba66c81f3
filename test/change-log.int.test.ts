/** The change log's reader beside concurrent commits, timelines and retention. */
import { describe, expect, inject, test } from 'vitest';
import { prune } from '../services/writer/retention.ts';
import { afterCommit, ChangeLogReader, type LoggedChange, type Page, type Position } from '../shared/change-log.ts';
import { type Lsn, parseLsn } from '../shared/lsn.ts';
import { commitChanges, createFeed, createSlot, POOL, switchTimeline, type WrittenChange } from './change-log-rows.ts';
import { connected, freshDatabase } from './fresh-database.ts';

const ALL = { rowsOfReads: true };
const at = (lsn: number, seq: number): Position => ({ lsn: parseLsn(lsn), seq });
const start = afterCommit(0 as Lsn);
const user = (n: number): WrittenChange => ({ op: 'insert', sub: `sub-${n}`, new: { username: `u${n}`, email: null } });

async function feed(connections = 2) {
  const postgres = connected((await freshDatabase(inject('postgres18'))).url, connections);
  const timeline = await createFeed(postgres);
  return { postgres, timeline, reader: new ChangeLogReader(postgres, POOL) };
}

async function readAll(reader: ChangeLogReader, from: Position, options: { most?: number; mostBytes?: number } = {}) {
  const pages: Page[] = [];
  for (let position = from; ; ) {
    const page = await reader.read(position, { ...ALL, ...options });
    pages.push(page);
    position = page.end;
    if (page.changes.length === 0 || position.seq > 1_000_000) return pages;
  }
}
const positions = (changes: readonly LoggedChange[]) => changes.map(({ lsn, seq }) => `${lsn}:${seq}`);

describe('the reader', () => {
  test('beside four committers of two pools, thousands of commits: no position skipped, none repeated, in order', async () => {
    const { postgres } = await feed(8);
    await createSlot(postgres, 'other');
    const COMMITS = 700;
    let committing = 4;
    const committer = async (pool: string, seed: number) => {
      for (let n = 0; n < COMMITS; n++) {
        const changes = Array.from({ length: 1 + ((n * 7 + seed) % 4) }, (_, i) => user(n * 10 + i));
        await commitChanges(postgres, changes, { pool });
      }
      committing--;
    };
    const follow = async (pool: string, most: number) => {
      const reader = new ChangeLogReader(postgres, pool);
      const seen: LoggedChange[] = [];
      let reads = 0;
      let position = start;
      for (;;) {
        const ended = committing === 0;
        const page = await reader.read(position, { ...ALL, most });
        reads++;
        position = page.end;
        seen.push(...page.changes);
        if (ended && page.changes.length === 0) return { seen, reads };
      }
    };
    const [, , , , mine, small, other] = await Promise.all([
      committer(POOL, 0),
      committer(POOL, 1),
      committer('other', 2),
      committer('other', 3),
      follow(POOL, 500),
      follow(POOL, 3),
      follow('other', 500),
    ]);
    for (const [pool, { seen, reads }] of [
      [POOL, mine],
      [POOL, small],
      ['other', other],
    ] as const) {
      const { rows } = await postgres.query<{ position: string }>(
        `select lsn || ':' || seq as position from cognito_feed.changes where pool = $1 order by lsn, seq`,
        [pool],
      );
      expect(positions(seen)).toEqual(rows.map((row) => row.position));
      expect(rows.length).toBeGreaterThan(2 * COMMITS);
      expect(reads).toBeGreaterThan(100);
    }
  }, 120_000);

  test('gives rows, times and timeline as they are, and rows of reads only when asked', async () => {
    const { postgres, timeline, reader } = await feed();
    await commitChanges(postgres, [
      { op: 'read', sub: 's1', username: 'ü', new: { username: 'ü', attributes: [{ sub: 's1' }] } },
      { op: 'update', sub: 's2', changed: ['email', 'attributes.email'], old: { email: null }, new: { email: 'a@b' } },
    ]);
    const { changes, end, feedEnd } = await reader.read(start, ALL);
    expect(changes).toMatchObject([
      { pool: POOL, lsn: 1, seq: 0, timeline, op: 'read', username: 'ü', sub: 's1', changed: [], old: null },
      {
        lsn: 1,
        seq: 1,
        op: 'update',
        changed: ['email', 'attributes.email'],
        old: { email: null },
        new: { email: 'a@b' },
      },
    ]);
    expect(changes[0]?.new).toEqual({ username: 'ü', attributes: [{ sub: 's1' }] });
    expect(Math.abs(Date.now() - (changes[0]?.committedAt.getTime() ?? 0))).toBeLessThan(60_000);
    expect([end, feedEnd]).toEqual([afterCommit(parseLsn(1)), 1]);
    const bare = await reader.read(start, { rowsOfReads: false });
    expect(bare.changes.map((change) => change.new)).toEqual([null, { email: 'a@b' }]);
    expect(await reader.at(at(1, 1))).toMatchObject({ sub: 's2', new: { email: 'a@b' } });
    expect(await reader.at(at(1, 2))).toBeNull();
  });

  test('pages are bounded in changes and in bytes, in the middle of a commit too; one change always fits', async () => {
    const { postgres, reader } = await feed();
    const big = { username: 'x', note: 'y'.repeat(1_000) };
    await commitChanges(
      postgres,
      Array.from({ length: 7 }, (_, n) => ({ op: 'insert', sub: `s${n}`, new: big })),
    );
    const sizes = async (options: object) => (await readAll(reader, start, options)).map((page) => page.changes.length);
    expect(await sizes({ most: 3 })).toEqual([3, 3, 1]);
    expect(await sizes({ mostBytes: 2_500 })).toEqual([2, 2, 2, 1]);
    expect(await sizes({ mostBytes: 10 })).toEqual([1, 1, 1, 1, 1, 1, 1]);
    expect(positions((await readAll(reader, at(1, 4))).flatMap((page) => page.changes))).toEqual(['1:5', '1:6']);
  });

  test('says when a position is ahead of the feed, and when there is no feed', async () => {
    const { postgres, reader } = await feed();
    await commitChanges(postgres, [user(1)]);
    await expect(reader.read(afterCommit(parseLsn(2)), ALL)).rejects.toMatchObject({
      name: 'CannotFollow',
      reason: 'ahead',
      lsn: 1,
    });
    await expect(new ChangeLogReader(postgres, 'nobody').read(start, ALL)).rejects.toMatchObject({ reason: 'no-slot' });
    expect(await reader.start('end')).toEqual(afterCommit(parseLsn(1)));
    expect(await reader.start('oldest')).toEqual(start);
  });

  test('goes on over a new timeline; a database that went back and on again is found out', async () => {
    const { postgres, timeline, reader } = await feed();
    await commitChanges(postgres, [user(1)]);
    const { end } = await reader.read(start, ALL);
    const next = await switchTimeline(postgres);
    await commitChanges(postgres, [user(2)]);
    const page = await reader.read(end, ALL);
    expect(page.changes).toMatchObject([{ lsn: 3, timeline: next }]);
    expect(timeline).not.toBe(next);
    // Restored to before LSN 3, and beyond it again before the reader looks.
    await postgres.query('delete from cognito_feed.changes where lsn >= 2');
    await switchTimeline(postgres, 1);
    for (let n = 0; n < 5; n++) await commitChanges(postgres, [user(n)]);
    await expect(reader.read(page.end, ALL)).rejects.toMatchObject({ reason: 'other-timeline' });
  });
});

describe('retention', () => {
  const DAY_MS = 86_400_000;

  test('deletes whole commits that are old enough, in chunks, and no reader misses one unawares', async () => {
    const { postgres, reader } = await feed();
    for (let n = 0; n < 10; n++) await commitChanges(postgres, [user(n), user(n), user(n)], { agoMs: 3 * DAY_MS });
    for (let n = 0; n < 5; n++) await commitChanges(postgres, [user(n)]);
    expect(await prune(postgres, POOL, 4 * DAY_MS)).toEqual({ changes: 0, lsn: null });
    // A chunk of four changes is one commit of three and one that it cuts.
    expect(await prune(postgres, POOL, DAY_MS, { chunkChanges: 4, mostChunks: 2 })).toEqual({ changes: 6, lsn: 2 });
    await expect(reader.read(start, ALL)).rejects.toMatchObject({ reason: 'behind', lsn: 2 });
    await expect(reader.read(at(2, 1), ALL)).rejects.toMatchObject({ reason: 'behind' });
    expect(positions((await reader.read(afterCommit(parseLsn(2)), { ...ALL, most: 2 })).changes)).toEqual([
      '3:0',
      '3:1',
    ]);
    expect(await reader.start('oldest')).toEqual(afterCommit(parseLsn(2)));
    // A commit that is larger than a chunk goes all the same.
    expect(await prune(postgres, POOL, DAY_MS, { chunkChanges: 2, mostChunks: 1 })).toEqual({ changes: 3, lsn: 3 });
    expect(await prune(postgres, POOL, DAY_MS)).toEqual({ changes: 21, lsn: 10 });
    expect(await prune(postgres, POOL, DAY_MS)).toEqual({ changes: 0, lsn: null });
    expect(positions((await reader.read(await reader.start('oldest'), ALL)).changes)).toHaveLength(5);
    const { rows } = await postgres.query('select retention_lsn, confirmed_lsn from cognito_feed.slots');
    expect(rows).toEqual([{ retention_lsn: '10', confirmed_lsn: '15' }]);
  });

  test('another pool keeps its changes', async () => {
    const { postgres } = await feed();
    await createSlot(postgres, 'other');
    await commitChanges(postgres, [user(1)], { pool: 'other', agoMs: 3 * DAY_MS });
    expect(await prune(postgres, POOL, DAY_MS)).toEqual({ changes: 0, lsn: null });
    expect((await postgres.query('select from cognito_feed.changes')).rowCount).toBe(1);
  });

  test('two at once take turns, commits go on meanwhile, and a reader sees all or hears of it', async () => {
    const { postgres } = await feed(8);
    for (let n = 0; n < 60; n++) await commitChanges(postgres, [user(n), user(n)], { agoMs: DAY_MS });
    let done = false;
    const seen: string[] = [];
    const told: string[] = [];
    const slowReader = async () => {
      const reader = new ChangeLogReader(postgres, POOL);
      let position = start;
      for (;;) {
        const ended = done;
        try {
          const page = await reader.read(position, { ...ALL, most: 1 });
          if (ended && page.changes.length === 0) return;
          seen.push(...positions(page.changes));
          position = page.end;
        } catch (error) {
          told.push((error as { reason: string }).reason);
          position = await reader.start('oldest');
        }
      }
    };
    const work = async () => {
      const commits = (async () => {
        for (let n = 0; n < 40; n++) await commitChanges(postgres, [user(n)]);
      })();
      const prunes = [1, 2].map(() => prune(postgres, POOL, 3_600_000, { chunkChanges: 5 }));
      const pruned = await Promise.all(prunes);
      await commits;
      done = true;
      return pruned;
    };
    const [pruned] = await Promise.all([work(), slowReader()]);
    // Who finds the other at it leaves it to him; together they have at most all, and each change goes once.
    expect(pruned.reduce((sum, { changes }) => sum + changes, 0)).toBeLessThanOrEqual(120);
    await prune(postgres, POOL, 3_600_000);
    expect((await postgres.query('select from cognito_feed.changes')).rowCount).toBe(40);
    expect(seen).toEqual([...new Set(seen)]);
    expect(new Set(told).size === 0 || [...new Set(told)].join() === 'behind').toBe(true);
    expect(seen.filter((position) => Number(position.split(':')[0]) > 60)).toHaveLength(40);
  });
});
