/** A parent for left-behind.int.test.ts: starts one server of each kind, says what and where, and waits to be killed. */
import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';

const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
if (process.argv.includes('paused')) postgres.pause();
const pids = [...postgres.pids(), redis.pid];
const folders = [postgres.folder, redis.folder];
process.stdout.write(`${JSON.stringify({ pids, folders })}\n`);
if (process.argv.includes('return')) process.exit(0);
setInterval(() => {}, 60_000);
