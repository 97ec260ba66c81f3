/** Invariant 2: a scan that finds nothing new writes nothing to mirror or change log. */
import { expect, inject, test } from 'vitest';
import { audited, auditMirror, rowsWritten } from './audit.ts';
import type { FaultPatch } from './emulator/faults.ts';
import { hostileUsers } from './emulator/hostile-users.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();

/** Everything that a write to the mirror or the change log would move. */
async function traces(feed: Feed) {
  const { lsn, commit, timeline } = await feed.slot();
  return {
    position: { lsn, commit, timeline },
    versions: await feed.query(
      'select username, xmin::text, ctid::text from cognito.users order by username collate "C"',
    ),
    changes: await feed.query('select lsn, seq, xmin::text, ctid::text from cognito_feed.changes order by lsn, seq'),
    written: await rowsWritten(feed),
  };
}

async function expectSilentSync(feed: Feed, faults: FaultPatch = {}): Promise<void> {
  const before = await traces(feed);
  feed.emulator.faults.set(faults);
  expect(await feed.sync()).toMatchObject({ code: 0, stderr: '' });
  expect(await audited(feed)).toEqual([]);
  expect(await traces(feed)).toEqual(before);
}

test.for(['postgres15', 'postgres18'] as const)(
  'Invariant 2: a scan that finds nothing new writes no row version and fires no trigger, on %s',
  async (major) => {
    const feed = await startFeed({ redis, postgres: inject(major) });
    feed.pool.fill(300);
    feed.pool.load(hostileUsers(300, major));
    expect(await feed.sync()).toMatchObject({ code: 0 });
    await auditMirror(feed);

    await expectSilentSync(feed);
    await expectSilentSync(feed, { shuffleAttributes: true });
    await feed.expectMirrorEqualsPool();
  },
);

test('Invariant 2: holds when pages are short and empty, tokens are refused and users hide', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(500);
  await feed.sync();
  await auditMirror(feed);

  await expectSilentSync(feed, {
    shortPages: 0.5,
    emptyPages: 0.3,
    failures: [{ kind: 'error', error: 'InvalidParameterException', token: true, skip: 5, times: 2 }],
  });
  await expectSilentSync(feed, { failures: [], missing: [{ share: 0.03 }] });
});

test('Invariant 2: a change is no reason to write its neighbours', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(200);
  await feed.sync();
  await auditMirror(feed);
  const before = await traces(feed);

  feed.pool.disable('user7');
  feed.emulator.faults.set({ shuffleAttributes: true });
  await feed.sync();

  expect((await audited(feed)).map(({ level, op }) => `${op} ${level}`)).toEqual(['UPDATE ROW', 'UPDATE STATEMENT']);
  const after = await traces(feed);
  expect(
    after.versions.filter((row) => !before.versions.some((old) => JSON.stringify(old) === JSON.stringify(row))),
  ).toMatchObject([{ username: 'user7' }]);
  expect(after.changes.length - before.changes.length).toBe(1);
});
