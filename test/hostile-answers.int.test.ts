/** Invariant 1 under every answer that Cognito is known to give: a scan that ends has seen the whole pool, and one that can't end harms nothing. */
import { expect, test } from 'vitest';
import type { FaultPatch } from './emulator/faults.ts';
import { redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();

type Hostility = readonly [what: string, faults: FaultPatch, answers?: string];

const HOSTILITIES: readonly Hostility[] = [
  ['short and empty pages', { shortPages: 0.6, emptyPages: 0.4 }],
  [
    'tokens that expire in the middle',
    { failures: [{ kind: 'error', error: 'InvalidParameterException', token: true, skip: 3, times: 3 }] },
    'InvalidParameterException',
  ],
  ['throttling at a quota', { quotas: { UserList: 4, UserRead: 4, UserPoolRead: 1 } }, 'TooManyRequestsException'],
  [
    'one 500 in four',
    { failures: [{ kind: 'error', error: 'InternalErrorException', rate: 0.25 }] },
    'InternalErrorException',
  ],
  ["a proxy's page of HTML", { failures: [{ kind: 'html', rate: 0.2 }] }, 'html'],
  ['connections dropped before an answer', { failures: [{ kind: 'drop-before', rate: 0.2 }] }, 'drop-before'],
  ['connections dropped in the middle of one', { failures: [{ kind: 'drop-middle', rate: 0.2 }] }, 'drop-middle'],
  ['latency', { latency: { ms: 60, jitterMs: 50 } }],
  [
    'no estimate for want of a permission',
    { failures: [{ kind: 'error', error: 'AccessDeniedException', operations: ['DescribeUserPool'] }] },
  ],
];

test.for(HOSTILITIES)('Invariant 1: holds with %s', async ([, faults, answers]) => {
  const feed = await startFeed({ redis });
  feed.pool.fill(600);
  feed.emulator.faults.set(faults);
  const first = await feed.sync();
  expect(first, first.stderr).toMatchObject({ code: 0 });
  await feed.expectMirrorEqualsPool();

  feed.pool.update('user7', { email: 'moved@example.com' });
  feed.pool.delete('user8');
  feed.pool.reuse('user9');
  feed.pool.create({ username: 'new' });
  const second = await feed.sync();
  expect(second, second.stderr).toMatchObject({ code: 0 });
  expect(second.stdout).toMatch(/ 2 inserted, 1 updated, 2 deleted/);
  await feed.expectMirrorEqualsPool();
  // It did happen.
  if (answers !== undefined) expect(feed.emulator.record.answers[answers]).toBeGreaterThan(0);
});

test('a pool that refuses every token is never scanned to its end: nothing is deleted, sync says why and exits 1', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(600);
  await feed.sync();
  const { as_of } = await feed.slot();
  const gone = feed
    .poolRows()
    .slice(-100)
    .map(({ username }) => username);
  for (const username of gone) feed.pool.delete(username);
  feed.emulator.faults.set({ tokenLifetimePages: 3 });

  const { code, stderr } = await feed.sync();
  expect(code).toBe(1);
  expect(stderr).toMatch(/^eu-west-1_EMULATED1: the scan is not complete: .*\n$/);
  expect(await feed.mirrorRows()).toHaveLength(600);
  expect((await feed.slot()).as_of).toEqual(as_of);
  expect(feed.emulator.record.lookups).toEqual([]);
});

test('users observed before a scan broke off are in the mirror: what is confirmed is not copied again', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(2_400);
  feed.emulator.faults.set({ failures: [{ kind: 'error', error: 'ResourceNotFoundException', skip: 30 }] });
  expect(await feed.sync()).toMatchObject({ code: 1, stderr: expect.stringContaining('AWS knows no such pool') });
  const copied = await feed.mirrorRows();
  expect(copied.length).toBeGreaterThan(500);

  feed.emulator.faults.reset();
  const { stdout } = await feed.sync();
  expect(stdout).toContain(` ${2_400 - copied.length} inserted, 0 updated, 0 deleted`);
  await feed.expectMirrorEqualsPool();
});

test('REQUESTS_PER_SECOND is a ceiling in any second, whatever is asked for', async () => {
  const feed = await startFeed({ redis, settings: { REQUESTS_PER_SECOND: '8', AWS_REGION: 'eu-north-1' } });
  feed.pool.fill(1_200);
  feed.emulator.faults.set({ shortPages: 0.3 });
  expect(await feed.sync()).toMatchObject({ code: 0 });
  expect(feed.emulator.record.lists.length).toBeGreaterThan(20);
  expect(feed.emulator.record.peakLists()).toBeLessThanOrEqual(8);
});
