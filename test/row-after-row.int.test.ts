import { expect, test } from 'vitest';
import { redisOfFile, startFeed } from './feed.ts';
import { until } from './until.ts';

const redis = redisOfFile();

test('the same refusal row after row is an outage: nothing stays rejected, and all is applied when it is over', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(400);
  await feed.postgres.query(`alter table cognito.users add constraint shut check (false)`);
  const running = feed.run();
  const scan = feed.scan();
  await until('a line that says so', () => feed.logged.some((line) => line.includes('23514')));
  await feed.postgres.query('alter table cognito.users drop constraint shut');
  expect(await scan).toMatchObject({ complete: true });
  await running.stop();
  expect(await feed.query('select from cognito_feed.rejects')).toEqual([]);
  await feed.expectMirrorEqualsPool();
});
