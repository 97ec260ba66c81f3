/** CHANGE_RETENTION at work: the writer itself prunes, and says up to where. */
import { expect, test } from 'vitest';
import { redisOfFile, startFeed } from './feed.ts';
import { until } from './until.ts';

const redis = redisOfFile();

test('a running writer deletes what is older than CHANGE_RETENTION and remembers how far', async () => {
  const feed = await startFeed({ redis, settings: { CHANGE_RETENTION: '1s' } });
  feed.pool.fill(120);
  expect((await feed.sync()).code).toBe(0);
  await until('the changes to be old', async () => {
    const rows = await feed.query("select from cognito_feed.changes where committed_at > now() - interval '1 second'");
    return rows.length === 0;
  });
  const running = feed.runWriter();
  await until(
    'the changes to be gone',
    async () => (await feed.query('select from cognito_feed.changes')).length === 0,
  );
  await running.stop();
  const [slot] = await feed.query<{ retention_lsn: string; confirmed_lsn: string }>(
    'select retention_lsn, confirmed_lsn from cognito_feed.slots',
  );
  expect(slot?.retention_lsn).toBe(slot?.confirmed_lsn);
  await feed.expectMirrorEqualsPool();
});
