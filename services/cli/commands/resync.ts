import { randomUUID } from 'node:crypto';
import { resync as resyncMirror } from '../../writer/resync.ts';
import { ensureSlot, identify } from '../../writer/slot-setup.ts';
import type { CommandContext } from '../command.ts';
import { reachEverything, withPostgres } from '../join.ts';

/** A new timeline of each mirror, now; returns when its snapshot stands. */
export async function resync({ settings, log, signal, stdout }: CommandContext): Promise<number> {
  const redis = await reachEverything(settings);
  try {
    for (const pool of settings.pools) {
      await withPostgres(pool, async (postgres) => {
        await ensureSlot(postgres, pool.poolId, pool.targetTable, [randomUUID(), randomUUID()]);
        const tag = await identify(postgres, pool.poolId, pool.targetTable);
        const options = { settings: pool, tag, postgres, redis, log };
        const { timeline, users } = await resyncMirror(options, 'operator', signal);
        stdout.write(`${pool.poolId}: timeline ${timeline} stands, with ${users} users in its snapshot\n`);
      });
    }
    return 0;
  } finally {
    redis.client.disconnect();
  }
}
