/** What the demo leaves in a Redis that is not its own: nothing. */
import { keys, type MirrorTag } from '../../../shared/keys.ts';
import type { RedisClient } from '../../../shared/redis.ts';
import { removeMirrorKeys } from '../mirror-keys.ts';

/** Every key of this mirror, its announcement, and its Region's budget: all named by the demo, so nobody else's. */
export async function removeKeys(client: RedisClient, tag: MirrorTag, region: string): Promise<void> {
  await removeMirrorKeys(client, tag);
  await client.unlink(keys.budget(region));
}
