/**
 * The floor of a scan: the SDK's client alone, as it comes, fetches the same pages by the same chains and throws them away.
 * A process of its own, so that its CPU can be compared. Prints one JSON line.
 *
 * usage: scan-floor.ts POOL ENDPOINT CHAINS_AT_ONCE SHARDED
 */

import {
  CognitoIdentityProviderClient,
  ListUsersCommand,
  type ListUsersCommandOutput,
} from '@aws-sdk/client-cognito-identity-provider';
import { SHARDS, WHOLE_POOL } from '../../services/poller/shard.ts';

const [poolId = '', endpoint = '', atOnce = '4', sharded = 'true'] = process.argv.slice(2);

async function main(): Promise<void> {
  const client = new CognitoIdentityProviderClient({ region: 'eu-west-1', endpoint });
  const chains = sharded === 'true' ? [...SHARDS] : [WHOLE_POOL];
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  let pages = 0;
  let users = 0;
  const walk = async (): Promise<void> => {
    for (let chain = chains.shift(); chain !== undefined; chain = chains.shift()) {
      let token: string | undefined;
      do {
        const filter = chain.filter === null ? {} : { Filter: chain.filter };
        const next = token === undefined ? {} : { PaginationToken: token };
        const page: ListUsersCommandOutput = await client.send(
          new ListUsersCommand({ UserPoolId: poolId, Limit: 60, ...filter, ...next }),
        );
        pages++;
        users += page.Users?.length ?? 0;
        token = page.PaginationToken;
      } while (token !== undefined);
    }
  };
  await Promise.all(Array.from({ length: Number(atOnce) }, walk));
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  client.destroy();
  process.stdout.write(`${JSON.stringify({ seconds, cpuSeconds: (user + system) / 1e6, pages, users })}\n`);
}

await main();
