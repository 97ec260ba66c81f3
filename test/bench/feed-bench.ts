/**
 * One size: initial copy, scans without a change, scans with 1 % changed; each beside its floor. Poller, writer and emulator are processes of their own.
 */

import { wantScan } from '../../services/poller/conductor.ts';
import { migrate } from '../../services/writer/migrate.ts';
import { identify } from '../../services/writer/slot-setup.ts';
import { connectPostgres } from '../../shared/postgres.ts';
import { createRedisClient, Redis } from '../../shared/redis.ts';
import { type LastScan, readScans } from '../../shared/scan-record.ts';
import { createDatabase } from '../servers/database.ts';
import type { PostgresServer } from '../servers/postgres.ts';
import { startRedis } from '../servers/redis.ts';
import { Measured, median } from './processes.ts';

const POOL = 'eu-west-1_BENCH';
const TARGET = { schema: 'cognito', name: 'users' };
const CLI = 'services/cli/main.ts';
/** Chains that one poller walks side by side; the floor gets as many. */
const CHAINS_AT_ONCE = 4;

export interface Against {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly usersPerSecond: number;
  readonly floorSeconds: number;
  readonly floorCpuSeconds: number;
  readonly ratio: number;
  readonly cpuRatio: number;
}

export interface SizeFigures {
  readonly users: number;
  readonly initialCopy: Against;
  readonly unchangedScan: Against;
  readonly churnScan: Against & { readonly changes: number };
  readonly memoryMb: { readonly poller: number; readonly writer: number };
  readonly redisBytesPerUser: number;
}

interface Floor {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

export async function benchSize(
  users: number,
  runs: number,
  postgres: PostgresServer,
  say: (line: string) => void,
): Promise<SizeFigures> {
  const usernames = 'sub';
  const emulator = Measured.node('test/emulator/main.ts', [
    '--pool',
    POOL,
    '--users',
    String(users),
    '--usernames',
    usernames,
  ]);
  const redisServer = await startRedis();
  const database = await createDatabase(postgres.url());
  const admin = connectPostgres({ url: database.url, applicationName: 'cognito-feed bench' });
  const redis = new Redis(createRedisClient({ url: redisServer.url, ca: null }));
  const services: Measured[] = [];
  try {
    const endpoint = await emulator.firstLine();
    await migrate(admin, { targets: [TARGET], publication: null, roles: false });
    const aws = {
      AWS_ACCESS_KEY_ID: 'bench',
      AWS_SECRET_ACCESS_KEY: 'bench',
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    };
    const env = {
      ...aws,
      COGNITO_USER_POOL_ID: POOL,
      AWS_REGION: 'eu-west-1',
      AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: endpoint,
      DATABASE_URL: database.url,
      REDIS_URL: redisServer.url,
      REQUESTS_PER_SECOND: '100000',
      POLL_INTERVAL: '1h',
      HOT_LANES: '',
      HTTP_PORT: '',
      LOG_LEVEL: 'error',
      PUBLICATION: '',
      CHANGE_RETENTION: '',
    };
    const sharded = users >= 10_000;
    const floors = async (): Promise<Floor> => {
      const child = Measured.node(
        'test/bench/scan-floor.ts',
        [POOL, endpoint, String(CHAINS_AT_ONCE), String(sharded)],
        aws,
      );
      return JSON.parse(await child.output()) as Floor;
    };
    say(`${users} users: floor`);
    const floorRuns: Floor[] = [];
    for (let run = 0; run < runs; run++) floorRuns.push(await floors());
    const floor = {
      seconds: median(floorRuns.map((f) => f.seconds)),
      cpuSeconds: median(floorRuns.map((f) => f.cpuSeconds)),
    };

    const emptyRedis = await usedMemory(redis);
    const tag = await identify(admin, POOL, TARGET);
    say(`${users} users: initial copy`);
    services.push(Measured.node(CLI, ['writer'], env), Measured.node(CLI, ['poller'], env));
    const [writer, poller] = services as [Measured, Measured];
    const cpu = () => writer.cpuSeconds() + poller.cpuSeconds();
    const first = await ended(redis, tag, 0);
    const initialCopy = against(users, first.seconds, cpu(), floor);

    const scans = async (before: () => Promise<void>) => {
      const seconds: number[] = [];
      const cpus: number[] = [];
      for (let run = 0; run < runs; run++) {
        await before();
        const cpuBefore = cpu();
        const scan = await ended(redis, tag, await wantScan(redis, tag));
        seconds.push(scan.seconds);
        cpus.push(cpu() - cpuBefore);
      }
      return against(users, median(seconds), median(cpus), floor);
    };
    say(`${users} users: scans without a change`);
    const unchangedScan = await scans(async () => undefined);
    const redisBytesPerUser = ((await usedMemory(redis)) - emptyRedis) / users;
    say(`${users} users: scans with 1 % changed`);
    const changes = Math.floor(users / 100);
    let seed = 1;
    const churnScan = await scans(async () => {
      await fetch(`${endpoint}/__control`, {
        method: 'POST',
        body: JSON.stringify({ pool: POOL, churn: { steps: changes, seed: seed++ } }),
      }).then(expectOk);
    });
    return {
      users,
      initialCopy,
      unchangedScan,
      churnScan: { ...churnScan, changes },
      memoryMb: { poller: poller.memoryMb().peak, writer: writer.memoryMb().peak },
      redisBytesPerUser,
    };
  } finally {
    for (const service of services) await service.stop();
    redis.client.disconnect();
    await admin.end();
    await emulator.stop();
    await redisServer.stop();
    await database.drop();
  }
}

async function expectOk(response: Response): Promise<void> {
  if (!response.ok) throw new Error(`the emulator answered ${response.status}: ${await response.text()}`);
}

function against(users: number, seconds: number, cpuSeconds: number, floor: Floor): Against {
  return {
    seconds,
    cpuSeconds,
    usersPerSecond: users / seconds,
    floorSeconds: floor.seconds,
    floorCpuSeconds: floor.cpuSeconds,
    ratio: seconds / floor.seconds,
    cpuRatio: cpuSeconds / floor.cpuSeconds,
  };
}

/** The scan that began at or after `wanted`, when it has ended. @throws Error where it is not complete */
async function ended(redis: Redis, tag: Parameters<typeof readScans>[1], wanted: number): Promise<LastScan> {
  for (;;) {
    const { last } = await readScans(redis, tag);
    if (last !== null && last.floor >= wanted) {
      if (!last.complete) throw new Error(`the scan is not complete: ${last.reason}`);
      return last;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.client.info('memory'))?.[1]);
}
