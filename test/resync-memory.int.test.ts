/** A resync's memory does not follow the mirror. */
import { expect, test } from 'vitest';
import { resync } from '../services/cli/commands/resync.ts';
import { commandHere } from './command-here.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();
const SOME = 30_000;
const MANY = 120_000;
/** Kept as objects, the rows that come in between would take some 130 MB. */
const GROWTH_MB = 80;

const fill = (feed: Feed, from: number, to: number) =>
  feed.query(
    `insert into cognito.users select id, id || '@example.com', 'CONFIRMED', true, '2024-01-01', '2024-01-02',
       jsonb_build_array(jsonb_build_object('sub', id), jsonb_build_object('email', id || '@example.com'), jsonb_build_object('custom:note', repeat('x', 200)))
     from (select md5(n::text)::uuid::text as id from generate_series($1::int + 1, $2) n) ids`,
    [from, to],
  );

/** Megabytes resident at the most while it ran. */
async function resynced(feed: Feed, users: number): Promise<number> {
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 20);
  const { code, stdout } = await commandHere(feed, resync);
  clearInterval(timer);
  expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining(`with ${users} users`) });
  return most / 1024 / 1024;
}

test('Invariant 7: four times the rows take no more memory to build a snapshot of', async () => {
  const feed = await startFeed({ redis });
  expect((await feed.sync()).code).toBe(0);
  await fill(feed, 0, SOME);
  const few = await resynced(feed, SOME);
  await fill(feed, SOME, MANY);
  expect((await resynced(feed, MANY)) - few).toBeLessThan(GROWTH_MB);
}, 120_000);
