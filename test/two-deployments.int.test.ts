/** Two deployments, each with its own Redis, pointed at one pool and one mirror by mistake. */
import { expect, test } from 'vitest';
import { audited, auditMirror } from './audit.ts';
import { redisOfFile, startFeed } from './feed.ts';
import { until } from './until.ts';

const mine = redisOfFile();
const yours = redisOfFile();

test('they do no harm: each change is made once, the mirror converges, turns grow longer, and both say so', async () => {
  const settings = { POLL_INTERVAL: '200ms' };
  const feed = await startFeed({ redis: mine, settings });
  feed.pool.fill(200);
  const running = feed.run();
  await feed.scan();
  await auditMirror(feed);
  const other = await startFeed({ redis: yours, settings, database: feed.database, emulator: feed.emulator });
  const rival = other.run();

  const created: string[] = [];
  const loud = (logged: readonly string[]) =>
    logged.some((line) => line.includes('"level":"error"') && line.includes('another deployment, with another Redis'));
  await until('one of them to say so', async () => {
    const username = `new-${created.length}`;
    feed.pool.create({ username });
    created.push(username);
    await new Promise((resolve) => setTimeout(resolve, 300));
    return loud(feed.logged) || loud(other.logged);
  });
  await until('the mirror to have them all', async () => {
    const [row] = await feed.query<{ count: number }>(
      `select count(*)::int as count from cognito.users where username like 'new-%'`,
    );
    return row?.count === created.length;
  });
  await feed.expectMirrorEqualsPool();
  const rows = (await audited(feed)).filter(({ level }) => level === 'ROW');
  expect(rows.map(({ op }) => op)).toEqual(created.map(() => 'INSERT'));

  await rival.stop();
  feed.pool.create({ username: 'alone again' });
  await until(
    'the one that is left to go on',
    async () => (await feed.query(`select from cognito.users where username = 'alone again'`)).length === 1,
  );
  await running.stop();
});
