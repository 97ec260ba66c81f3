/** Postgres' own client of logical decoding sees what the change log has, in its order, and nothing for a scan that found nothing. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, inject, onTestFinished, test } from 'vitest';
import { redisOfFile, startFeed } from '../feed.ts';
import { until } from '../until.ts';

const redis = redisOfFile();

test('pg_recvlogical sees only real changes, each as what it is, in the order of the change log', async () => {
  const feed = await startFeed({ redis, postgres: inject('postgres15') });
  const slot = ['--slot=seen', `--dbname=${feed.database.url}`];
  const [created] = await once(spawn('pg_recvlogical', [...slot, '--create-slot', '--plugin=test_decoding']), 'exit');
  expect(created).toBe(0);
  onTestFinished(async () => {
    await once(spawn('pg_recvlogical', [...slot, '--drop-slot']), 'exit');
  });
  const client = spawn('pg_recvlogical', [...slot, '--start', '--file=-', '--fsync-interval=0', '--status-interval=1']);
  let said = '';
  client.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  /** `INSERT name` and so on; usernames of an emulated pool need no unquoting. */
  const seen = () =>
    [...said.matchAll(/^table cognito\.users: (INSERT|UPDATE|DELETE): username\[text\]:'([^']*)'/gm)].map(
      ([, op, name]) => `${op} ${name}`,
    );
  const logged = async () => {
    const rows = await feed.query<{ op: string; username: string }>(
      'select op, username from cognito_feed.changes order by lsn, seq',
    );
    return rows.map(({ op, username }) => `${op === 'read' ? 'INSERT' : op.toUpperCase()} ${username}`);
  };

  feed.pool.fill(50);
  expect((await feed.sync()).code).toBe(0);
  const [first, second, third] = feed.poolRows().map(({ username }) => username);
  feed.pool.update(first ?? '', { given_name: 'changed' });
  feed.pool.delete(second ?? '');
  feed.pool.reuse(third ?? '');
  feed.pool.create({ username: 'new' });
  expect((await feed.sync()).code).toBe(0);
  expect((await feed.sync()).code).toBe(0);

  const log = await logged();
  expect(log).toHaveLength(50 + 5);
  await until('all of it to arrive', () => seen().length >= log.length);
  expect(seen()).toEqual(log);
  // Nothing follows for the scan that found nothing: the marker after it is the next thing that arrives.
  await feed.query("select pg_logical_emit_message(true, 'test', 'end')");
  await until('the marker', () => said.includes('content:end'));
  expect(seen()).toEqual(log);
  client.kill('SIGINT');
  await once(client, 'exit');
});
