/** `sync` against five thousand hostile users, on both ends of what is supported. */
import { expect, inject, test } from 'vitest';
import { hostileUsers } from './emulator/hostile-users.ts';
import { redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();

test.for(['postgres15', 'postgres18'] as const)(
  'Invariant 1: after sync the mirror equals a pool of 5,000 hostile users, row by row, on %s',
  { timeout: 180_000 },
  async (major) => {
    const feed = await startFeed({ redis, postgres: inject(major) });
    feed.pool.load(hostileUsers(5_000, major));

    const first = await feed.sync();
    expect(first, first.stderr).toMatchObject({ code: 0, stderr: '' });
    await feed.expectMirrorEqualsPool();
    expect(feed.pool.size).toBe(5_000);

    const second = await feed.sync();
    expect(second).toMatchObject({ code: 0, stderr: '' });
    expect(second.stdout).toContain('0 inserted, 0 updated, 0 deleted; 0 deletes held, 0 rows rejected');
    await feed.expectMirrorEqualsPool();
  },
);
