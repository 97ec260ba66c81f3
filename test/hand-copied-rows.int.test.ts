import { expect, inject, test } from 'vitest';
import { type Feed, redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();
async function mirrored(users: number, gap: number): Promise<Feed> {
  const feed = await startFeed({ redis, postgres: inject('postgres18') });
  const at = Date.now() - 86400000;
  for (let i = 0; i < users; i++)
    feed.pool.create({ username: `u${i}`, createdAt: at + i * gap, attributes: [['email', `u${i}@example.com`]] });
  expect(await feed.sync()).toMatchObject({ code: 0 });
  return feed;
}
const CASES: [string, number, string][] = [
  [
    'swap, 1 older',
    1000,
    `update cognito.users set username = 'elsewhere' where username = 'u1';
  update cognito.users set username = 'u1' where username = 'u2';
  update cognito.users set username = 'u2' where username = 'elsewhere';`,
  ],
  [
    'swap equal',
    0,
    `update cognito.users set username = 'elsewhere' where username = 'u1';
  update cognito.users set username = 'u1' where username = 'u2';
  update cognito.users set username = 'u2' where username = 'elsewhere';`,
  ],
  [
    'attributes copied from later',
    1000,
    `update cognito.users set attributes = (select attributes from cognito.users where username='u7') where username='u6'`,
  ],
  [
    'attributes copied from earlier',
    1000,
    `update cognito.users set attributes = (select attributes from cognito.users where username='u6') where username='u7'`,
  ],
  [
    'attributes copied and touched',
    1000,
    `update cognito.users set attributes = (select attributes from cognito.users where username='u7') where username='u6'; update cognito.users set email=email where username='u7'`,
  ],
  [
    'two copied',
    1000,
    `update cognito.users set attributes = (select attributes from cognito.users where username='u7') where username in ('u6','u5')`,
  ],
  [
    'whole row but username',
    1000,
    `update cognito.users a set (email, status, enabled, created_at, updated_at, attributes) = (select email, status, enabled, created_at, updated_at, attributes from cognito.users b where b.username='u7') where username='u6'`,
  ],
  [
    'whole row but username, earlier',
    1000,
    `update cognito.users a set (email, status, enabled, created_at, updated_at, attributes) = (select email, status, enabled, created_at, updated_at, attributes from cognito.users b where b.username='u6') where username='u7'`,
  ],
];
test.for(CASES)('%s', async ([, gap, sql]) => {
  const feed = await mirrored(60, gap);
  await feed.postgres.query(sql);
  await feed.redis.client.flushall();
  for (let round = 0; round < 3; round++) expect(await feed.sync()).toMatchObject({ code: 0 });
  await feed.expectMirrorEqualsPool();
});
