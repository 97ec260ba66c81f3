/** `refresh`, and what hints come to, through the real services. */
import { expect, test } from 'vitest';
import { refresh } from '../services/cli/commands/refresh.ts';
import { commandHere } from './command-here.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { exactLists } from './requests.ts';

const redis = redisOfFile();

const refreshed = (feed: Feed, options: { username?: string[]; sub?: string[] }) => commandHere(feed, refresh, options);
const subOf = (feed: Feed, username: string) =>
  feed.pool.get(username)?.Attributes?.find(({ Name }) => Name === 'sub')?.Value ?? '';

test('refresh re-reads a user without a scan: created, updated, unchanged, used again, gone, unknown', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(100);
  await feed.sync();

  feed.pool.create({ username: 'new' });
  expect(await refreshed(feed, { username: ['new'] })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('username new: inserted'),
  });
  await feed.expectMirrorEqualsPool();

  feed.pool.update('user7', { email: 'moved@example.com' });
  const sub = subOf(feed, 'user7');
  expect((await refreshed(feed, { sub: [sub] })).stdout).toContain(`sub ${sub}: updated`);
  expect((await refreshed(feed, { sub: [sub] })).stdout).toContain(`sub ${sub}: unchanged`);
  await feed.expectMirrorEqualsPool();

  feed.pool.reuse('user8');
  expect((await refreshed(feed, { username: ['user8'] })).stdout).toContain('username user8: updated');
  await feed.expectMirrorEqualsPool();

  const gone = subOf(feed, 'user9');
  feed.pool.delete('user9');
  feed.pool.delete('user10');
  const both = await refreshed(feed, { username: ['user10', 'nobody'], sub: [gone] });
  expect(both).toMatchObject({ code: 0, stderr: '' });
  expect(both.stdout).toContain('username user10: deleted');
  expect(both.stdout).toContain(`sub ${gone}: deleted`);
  expect(both.stdout).toContain('username nobody: not found');
  await feed.expectMirrorEqualsPool();
  // One whole walk, by the sync: all else was read by exact filters.
  expect(feed.emulator.record.lists.filter(({ filter }) => filter === undefined).length).toBe(2);
  expect(exactLists(feed.emulator)).toBeLessThan(12);
});
