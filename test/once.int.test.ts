/** Invariant 3: each difference becomes exactly one change, in the mirror and in the change log. */
import { expect, inject, test } from 'vitest';
import { type Audited, audited, auditMirror, expectSameBag, jsonOf } from './audit.ts';
import { churn } from './emulator/churn.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import type { ComparableRow } from './rows.ts';

const redis = redisOfFile();

interface Difference {
  readonly op: 'INSERT' | 'UPDATE' | 'DELETE';
  readonly old: unknown;
  readonly new: unknown;
}

interface LoggedChange {
  readonly lsn: number;
  readonly seq: number;
  readonly op: string;
  readonly username: string;
  readonly sub: string;
  readonly changed: string[];
  readonly old: unknown;
  readonly new: unknown;
}

const changesAfter = (feed: Feed, lsn: number): Promise<LoggedChange[]> =>
  feed.query<LoggedChange>(
    `select lsn::int, seq, op, username, sub, changed, old, new from cognito_feed.changes where pool = $1 and lsn > $2 order by lsn, seq`,
    [feed.pool.id, lsn],
  );

const rowSeen = (event: Audited): Difference => ({ op: event.op as Difference['op'], old: event.old, new: event.new });
const ofRows = (events: readonly Audited[]) => events.filter(({ level }) => level === 'ROW').map(rowSeen);

/** The true rows by username, as triggers see them. */
function rowsByName(feed: Feed): Map<string, ComparableRow> {
  return new Map(feed.poolRows().map((row) => [row.username, row]));
}

const subOf = (row: ComparableRow): string =>
  (row.attributes as Record<string, string>[]).find((attribute) => 'sub' in attribute)?.['sub'] ?? '';

/** What turns the one state of the pool into the other. */
function differences(before: Map<string, ComparableRow>, after: Map<string, ComparableRow>): Difference[] {
  const found: Difference[] = [];
  for (const username of new Set([...before.keys(), ...after.keys()])) {
    const [old, now] = [before.get(username), after.get(username)];
    if (JSON.stringify(old) === JSON.stringify(now)) continue;
    const sameUser = old !== undefined && now !== undefined && subOf(old) === subOf(now);
    if (sameUser) found.push({ op: 'UPDATE', old: jsonOf(old), new: jsonOf(now) });
    else {
      if (old !== undefined) found.push({ op: 'DELETE', old: jsonOf(old), new: null });
      if (now !== undefined) found.push({ op: 'INSERT', old: null, new: jsonOf(now) });
    }
  }
  return found;
}

test.for(['postgres15', 'postgres18'] as const)(
  "Invariant 3: a user's own trigger sees each kind of change exactly once, with the right old and new row, on %s",
  async (major) => {
    const feed = await startFeed({ redis, postgres: inject(major) });
    const { pool } = feed;
    pool.fill(100);
    const running = feed.run();
    await feed.scan();
    await auditMirror(feed);
    const row = (username: string) => rowsByName(feed).get(username);

    const step = async (username: string, op: Difference['op'], changed: string[], change: () => void) => {
      const [before, { lsn }] = [row(username), await feed.slot()];
      change();
      const after = row(username);
      await feed.scan();
      const wanted = { op, old: before ? jsonOf(before) : null, new: after ? jsonOf(after) : null };
      const seen = await audited(feed);
      expect(ofRows(seen)).toEqual([wanted]);
      expect(seen.filter(({ level }) => level === 'STATEMENT').map((event) => event.op)).toEqual([op]);
      expect(await changesAfter(feed, lsn)).toEqual([
        {
          ...wanted,
          lsn: lsn + 1,
          seq: 0,
          op: op.toLowerCase(),
          username,
          sub: subOf((after ?? before) as ComparableRow),
          changed,
        },
      ]);
      expect((await feed.slot()).lsn).toBe(lsn + 1);
    };

    const attributes = [
      ['email', 'new@example.com'],
      ['custom:plan', 'free'],
    ] as const;
    await step('new', 'INSERT', [], () => pool.create({ username: 'new', attributes, status: 'UNCONFIRMED' }));
    await step('new', 'UPDATE', ['status', 'updated_at'], () => pool.setStatus('new', 'CONFIRMED'));
    await step('new', 'UPDATE', ['email', 'updated_at', 'attributes.custom:team', 'attributes.email'], () =>
      pool.update('new', { email: "o'new@example.com", 'custom:team': 'a "b" \\ c' }),
    );
    await step('new', 'UPDATE', ['updated_at', 'attributes.custom:plan'], () =>
      pool.removeAttributes('new', ['custom:plan']),
    );
    await step('new', 'UPDATE', ['enabled'], () => pool.disable('new'));
    await step('new', 'UPDATE', ['enabled'], () => pool.enable('new'));
    await step('new', 'DELETE', [], () => pool.delete('new'));
    await running.stop();
  },
);

test('Invariant 3: a live pool becomes exactly the changes that its states differ by, scan after scan', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(400);
  const running = feed.run();
  await feed.scan();
  await auditMirror(feed);
  const changes = churn(feed.pool, { seed: 3 });

  for (let round = 0; round < 6; round++) {
    const [before, { lsn }] = [rowsByName(feed), await feed.slot()];
    for (let i = 0; i < 60; i++) changes.next();
    const wanted = differences(before, rowsByName(feed));
    expect(new Set(wanted.map(({ op }) => op)).size).toBe(3);
    await feed.scan();

    const seen = await audited(feed);
    expectSameBag(ofRows(seen), wanted);
    const logged = await changesAfter(feed, lsn);
    const asSeen = logged.map((it) => ({ op: it.op.toUpperCase() as Difference['op'], old: it.old, new: it.new }));
    expectSameBag(asSeen, wanted);
    expectDense(logged, lsn, (await feed.slot()).lsn);
    expectStatementsWithRows(seen);
  }
  await feed.expectMirrorEqualsPool();
  await running.stop();
});

/** One LSN more for each commit, and in each of them seq from 0 without a gap. */
function expectDense(logged: readonly LoggedChange[], from: number, to: number): void {
  const lsns = [...new Set(logged.map(({ lsn }) => lsn))];
  expect(lsns).toEqual(Array.from({ length: to - from }, (_, i) => from + 1 + i));
  for (const lsn of lsns) {
    const seqs = logged.filter((change) => change.lsn === lsn).map(({ seq }) => seq);
    expect(seqs).toEqual(seqs.map((_, i) => i));
  }
}

/** In each transaction, one statement-level event for each kind of row-level event, and none without. */
function expectStatementsWithRows(seen: readonly Audited[]): void {
  for (const xid of new Set(seen.map((event) => event.xid))) {
    const ops = (level: string) =>
      seen.filter((event) => event.xid === xid && event.level === level).map(({ op }) => op);
    expect(ops('STATEMENT').toSorted()).toEqual([...new Set(ops('ROW'))].toSorted());
  }
}

test('Invariant 3: the initial copy is read, and each row of it is one change', async () => {
  const feed = await startFeed({ redis });
  await auditMirror(feed);
  feed.pool.fill(2_500);
  await feed.sync();

  const rows = feed.poolRows().map((row): Difference => ({ op: 'INSERT', old: null, new: jsonOf(row) }));
  expectSameBag(ofRows(await audited(feed)), rows);
  const logged = await changesAfter(feed, 0);
  expect(new Set(logged.map(({ op }) => op))).toEqual(new Set(['read']));
  expectSameBag(
    logged.map((change) => change.new),
    rows.map((row) => row.new),
  );
  const slot = await feed.slot();
  expectDense(logged, 0, slot.lsn);
  expect(slot).toMatchObject({ state: 'streaming', users: 2_500 });

  // From then on a new user is an insert.
  feed.pool.create({ username: 'later' });
  await feed.sync();
  expect(await changesAfter(feed, slot.lsn)).toMatchObject([{ op: 'insert', username: 'later', lsn: slot.lsn + 1 }]);
});

test('a username used again is a delete and an insert, in that order', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(100);
  await feed.sync();
  await auditMirror(feed);
  const [before, { lsn }] = [rowsByName(feed), await feed.slot()];
  const old = before.get('user5') as ComparableRow;
  feed.pool.reuse('user5');
  const now = rowsByName(feed).get('user5') as ComparableRow;

  expect(await feed.sync()).toMatchObject({ code: 0 });
  expect(ofRows(await audited(feed))).toEqual([
    { op: 'DELETE', old: jsonOf(old), new: null },
    { op: 'INSERT', old: null, new: jsonOf(now) },
  ]);
  expect(await changesAfter(feed, lsn)).toMatchObject([
    { lsn: lsn + 1, seq: 0, op: 'delete', username: 'user5', sub: subOf(old) },
    { lsn: lsn + 1, seq: 1, op: 'insert', username: 'user5', sub: subOf(now) },
  ]);
  expect(subOf(now)).not.toBe(subOf(old));
  expect(await feed.query('select sub, username from cognito_feed.tombstones')).toEqual([
    { sub: subOf(old), username: 'user5' },
  ]);
});
