/** Backups: a logical one restored into another server, and a base backup that takes the server back in time. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import { verify } from '../../services/cli/commands/verify.ts';
import { audited, auditMirror } from '../audit.ts';
import { commandHere } from '../command-here.ts';
import { redisOfFile, startFeed } from '../feed.ts';
import { connected, freshDatabase } from '../fresh-database.ts';
import { startPostgres } from '../servers/postgres.ts';
import { until } from '../until.ts';

const redis = redisOfFile();

/** @throws with what it wrote to stderr, where it is missing, fails or so much as warns */
async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const [code] = await once(child, 'close').catch((error: Error) => {
    throw new Error(`${command} is missing (Debian: apt-get install postgresql-client)`, { cause: error });
  });
  if (code !== 0 || said !== '') throw new Error(`${command} ended with ${code}: ${said}`);
}

test('pg_dump and pg_restore: mirror, change log and views on the mirror come back in another server, and the service goes on there', async () => {
  const feed = await startFeed({ redis, postgres: inject('postgres15') });
  feed.pool.fill(300);
  expect((await feed.sync()).code).toBe(0);
  await auditMirror(feed);
  await feed.query(`create view public.active as select username, email from cognito.users where enabled`);
  await feed.query(
    `create materialized view public.by_status as select status, count(*) from cognito.users group by status`,
  );
  const before = await feed.slot();

  const file = join(tmpdir(), `cognito-feed-${process.pid}.dump`);
  onTestFinished(() => rm(file, { force: true }));
  await run('pg_dump', ['--format=custom', `--file=${file}`, feed.database.url]);
  const server = await startPostgres({ major: 15 });
  onTestFinished(() => server.stop());
  const database = await freshDatabase(server.url());
  await run('pg_restore', ['--exit-on-error', '--single-transaction', `--dbname=${database.url}`, file]);

  const restored = connected(database.url);
  const { rows } = await restored.query(
    `select (select count(*)::int from cognito.users) as users, (select count(*)::int from cognito_feed.changes) as changes,
       (select count(*)::int from public.active) as active, (select sum(count)::int from public.by_status) as by_status`,
  );
  expect(rows).toEqual([{ users: 300, changes: 300, active: expect.any(Number), by_status: 300 }]);

  const elsewhere = await startFeed({ redis, database, emulator: feed.emulator });
  const [gone, changed] = feed.poolRows();
  feed.pool.delete(gone?.username ?? '');
  feed.pool.update(changed?.username ?? '', { given_name: 'changed' });
  expect(await elsewhere.sync()).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('0 inserted, 1 updated, 1 deleted'),
  });
  await elsewhere.expectMirrorEqualsPool();
  const seen = (await audited(elsewhere)).filter(({ level }) => level === 'ROW').map(({ op }) => op);
  expect(seen.toSorted()).toEqual(['DELETE', 'UPDATE']);
  const after = await elsewhere.slot();
  expect(after.timeline).not.toBe(before.timeline);
  expect(after.lsn).toBeGreaterThan(before.lsn);
  expect((await commandHere(elsewhere, verify)).code).toBe(0);
  // The materialized view is as it was, until it is refreshed.
  await restored.query('refresh materialized view public.by_status');
});

test('a base backup: the database has gone back in time; a new timeline begins above the LSN that was reached, and only news changes rows', async () => {
  const server = await startPostgres({ major: 18 });
  onTestFinished(() => server.stop());
  const feed = await startFeed({ redis, postgres: server.url() });
  feed.pool.fill(300);
  expect((await feed.sync()).code).toBe(0);
  await auditMirror(feed);
  await server.shutDown();
  const backup = await server.backup();
  await server.start();

  const running = feed.run();
  const names = feed.poolRows().map(({ username }) => username);
  for (const username of names.slice(0, 5)) {
    feed.pool.update(username, { given_name: 'later' });
    await feed.scan();
  }
  const reached = await feed.slot();
  await server.shutDown();
  await server.restore(backup);
  feed.pool.delete(names[200] ?? '');
  await server.start();
  const after = await until('a new timeline', async () => {
    const slot = await feed.slot().catch(() => undefined);
    return slot !== undefined && slot.timeline !== reached.timeline && slot.resync_reason === null && slot;
  });
  expect(after.lsn).toBeGreaterThanOrEqual(reached.lsn);
  await feed.scan();
  await feed.expectMirrorEqualsPool();
  const rows = (await audited(feed)).filter(({ level }) => level === 'ROW').map(({ op }) => op);
  expect(rows.toSorted()).toEqual(['DELETE', 'UPDATE', 'UPDATE', 'UPDATE', 'UPDATE', 'UPDATE']);
  await running.stop();
});
