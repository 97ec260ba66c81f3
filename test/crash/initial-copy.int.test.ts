/** Invariants 3 and 6 where somebody dies in the middle of the first load of an empty mirror. */
import { expect, test } from 'vitest';
import { type Feed, redisOfFile } from '../feed.ts';
import { completeScan, pollingGoesOn, setScene, TAKEOVER_MS, writingGoesOn } from './scene.ts';
import { startVictim } from './victim.ts';

const redis = redisOfFile();
const USERS = 5_000;

test('invariants 3 and 6: a poller dies in the middle of an initial copy, and another one goes on from the token it noted', async () => {
  const scene = await setScene(redis, USERS);
  const { feed } = scene;
  const writer = feed.runWriter();
  const victim = startVictim('poller', feed.env, 'poller: the job is added', 3);
  const died = await victim.died;
  const goesOn = pollingGoesOn(feed, died);
  const heir = feed.runPoller();
  expect(await goesOn).toBeLessThan(TAKEOVER_MS);
  await expectInitialCopy(feed);
  // The pages that the dead one had noted count as walked: 84 full ones are the whole pool.
  const first = feed.logged.find((line) => line.includes('scan complete')) ?? '';
  expect(JSON.parse(first)).toMatchObject({ pages: 84, users: USERS });
  await heir.stop();
  await writer.stop();
  await scene.expectWell();
});

test('invariants 3 and 6: a writer dies in the middle of an initial copy, and another one goes on', async () => {
  const scene = await setScene(redis, USERS);
  const { feed } = scene;
  const victim = startVictim('writer', feed.env, 'writer: committed, the snapshot not advanced', 3);
  const poller = feed.runPoller();
  const died = await victim.died;
  expect((await feed.slot()).lsn).toBe(3);
  const goesOn = writingGoesOn(feed, died);
  const heir = feed.runWriter();
  expect(await goesOn).toBeLessThan(TAKEOVER_MS);
  await expectInitialCopy(feed);
  await poller.stop();
  await heir.stop();
  await scene.expectWell();
});

/** Every user came in by one `read`, whoever brought it. */
async function expectInitialCopy(feed: Feed): Promise<void> {
  await completeScan(feed);
  const ops = await feed.query('select op, count(*)::int as n from cognito_feed.changes group by op');
  expect(ops).toEqual([{ op: 'read', n: USERS }]);
}
