/** What a mirror has in Redis, taken out of it. */
import { Cluster } from 'ioredis';
import { keys, type MirrorTag } from '../../shared/keys.ts';
import type { RedisClient } from '../../shared/redis.ts';

const SCAN_COUNT = 1_000;

/** Every key of this mirror, and its announcement. All of them can be rebuilt from the mirror. */
export async function removeMirrorKeys(client: RedisClient, tag: MirrorTag): Promise<void> {
  await client.hdel(keys.mirrors, tag);
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
