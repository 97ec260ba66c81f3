/** What the demo leaves in a Redis that is not its own: nothing. */
import { Cluster } from 'ioredis';
import { keys, type MirrorTag } from '../../../shared/keys.ts';
import type { RedisClient } from '../../../shared/redis.ts';

const SCAN_COUNT = 1_000;

/** Every key of this mirror, its announcement, and its Region's budget: all named by the demo, so nobody else's. */
export async function removeKeys(client: RedisClient, tag: MirrorTag, region: string): Promise<void> {
  await client.hdel(keys.mirrors, tag);
  await client.unlink(keys.budget(region));
  const nodes = client instanceof Cluster ? client.nodes('master') : [client];
  for (const node of nodes) {
    let cursor = '0';
    do {
      const [next, found] = await node.scan(cursor, 'MATCH', `${tag}:*`, 'COUNT', SCAN_COUNT);
      if (found.length > 0) await client.unlink(...found);
      cursor = next;
    } while (cursor !== '0');
  }
}
