/**
 * The floor of a scan: the SDK alone, as this project sets it up, fetches the same pages by the same chains and throws them away.
 * A process of its own, so that its CPU can be compared. Prints one JSON line.
 *
 * usage: scan-floor.ts POOL ENDPOINT CHAINS_AT_ONCE SHARDED
 */

import { SHARDS, WHOLE_POOL } from '../../services/poller/shard.ts';
import { connectUserPool } from '../../shared/cognito.ts';

const [poolId = '', endpoint = '', atOnce = '4', sharded = 'true'] = process.argv.slice(2);

async function main(): Promise<void> {
  const pool = connectUserPool({ poolId, region: 'eu-west-1', endpoint });
  const chains = sharded === 'true' ? [...SHARDS] : [WHOLE_POOL];
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  let pages = 0;
  let users = 0;
  const walk = async (): Promise<void> => {
    for (let chain = chains.shift(); chain !== undefined; chain = chains.shift()) {
      let token: string | null = null;
      do {
        const page = await pool.listUsers({ filter: chain.filter, token });
        pages++;
        users += page.users.length;
        token = page.token;
      } while (token !== null);
    }
  };
  await Promise.all(Array.from({ length: Number(atOnce) }, walk));
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  pool.close();
  process.stdout.write(`${JSON.stringify({ seconds, cpuSeconds: (user + system) / 1e6, pages, users })}\n`);
}

await main();
