/**
 * Applying through staging beside `psql \copy` of the same rows into the same table: the whole path of a batch, from the snapshot's entries to the
 * snapshot's advance, for batches of 60 to 10,000 rows; inserts into an empty mirror, then updates of all of it.
 */

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type pg from 'pg';
import { agree } from '../../services/writer/agreement.ts';
import { apply } from '../../services/writer/apply.ts';
import { copyRow } from '../../services/writer/copy.ts';
import { migrate } from '../../services/writer/migrate.ts';
import { PostgresLedger } from '../../services/writer/postgres-ledger.ts';
import { ensureSlot, identify } from '../../services/writer/slot-setup.ts';
import { RedisSnapshotStore } from '../../services/writer/snapshot-store.ts';
import { type Change, WIRE_VERSION } from '../../shared/change.ts';
import { observationTime } from '../../shared/clock.ts';
import { fingerprintOf } from '../../shared/fingerprint.ts';
import { connectPostgres } from '../../shared/postgres.ts';
import { createRedisClient, Redis } from '../../shared/redis.ts';
import type { Row } from '../../shared/user.ts';
import { createDatabase } from '../servers/database.ts';
import type { PostgresServer } from '../servers/postgres.ts';
import { startRedis } from '../servers/redis.ts';
import { median } from './processes.ts';

const TARGET = { schema: 'cognito', name: 'users' };
const POOL = 'eu-west-1_APPLY';
export const BATCHES = [60, 500, 2_000, 10_000] as const;

export interface ApplyFigures {
  readonly users: number;
  /** Rows a second. */
  readonly psqlCopy: number;
  readonly batches: readonly {
    readonly rows: number;
    readonly inserts: number;
    readonly updates: number;
    readonly insertsLogged: number;
  }[];
}

function rowOf(i: number, version: number): Row {
  const sub = `d488e438-b0d1-7011-${(i >>> 16).toString(16).padStart(4, '0')}-${(i & 0xffff).toString(16).padStart(12, '0')}`;
  const email = `user${i}.v${version}@example.com`;
  const attributes: Row['attributes'] = [
    ['sub', sub],
    ['email', email],
    ['email_verified', 'true'],
    ['name', `User ${i}`],
    ['custom:tenant', `t${i % 100}`],
  ];
  return {
    username: sub,
    email,
    status: 'CONFIRMED',
    enabled: true,
    createdAt: 1.7e12 + i,
    updatedAt: 1.7e12 + i + version * 1000,
    attributes,
  };
}

export async function benchApply(
  users: number,
  runs: number,
  server: PostgresServer,
  say: (line: string) => void,
): Promise<ApplyFigures> {
  say(`psql \\copy of ${users} rows`);
  const floor: number[] = [];
  for (let run = 0; run < runs; run++) floor.push(users / (await psqlCopy(users, server)));
  const batches = [];
  for (const rows of BATCHES) {
    say(`apply through staging, ${rows} rows a batch`);
    const plain = await applied(users, rows, server, false);
    const logged = await applied(users, rows, server, true);
    batches.push({
      rows,
      inserts: users / plain.insertSeconds,
      updates: users / plain.updateSeconds,
      insertsLogged: users / logged.insertSeconds,
    });
  }
  return { users, psqlCopy: median(floor), batches };
}

async function withDatabase<T>(
  server: PostgresServer,
  work: (postgres: pg.Pool, url: string) => Promise<T>,
): Promise<T> {
  const database = await createDatabase(server.url());
  const postgres = connectPostgres({ url: database.url, applicationName: 'cognito-feed bench', max: 6 });
  try {
    await migrate(postgres, { targets: [TARGET], publication: null, roles: false });
    return await work(postgres, database.url);
  } finally {
    await postgres.end();
    await database.drop();
  }
}

/** Seconds. The rows are made before the clock starts. */
function psqlCopy(users: number, server: PostgresServer): Promise<number> {
  return withDatabase(server, async (_, url) => {
    const text: string[] = [];
    for (let i = 0; i < users; i++) text.push(copyRow(i, rowOf(i, 0)).replace(/^\d+\t/, ''));
    const all = Buffer.from(text.join(''));
    const psql = spawn('psql', ['-X', '-q', '-d', url, '-c', '\\copy cognito.users from stdin'], {
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    const began = performance.now();
    psql.stdin.end(all);
    const [code] = (await once(psql, 'exit')) as [number];
    if (code !== 0) throw new Error(`psql ended with ${code}`);
    return (performance.now() - began) / 1000;
  });
}

function applied(
  users: number,
  rows: number,
  server: PostgresServer,
  changeLog: boolean,
): Promise<{ insertSeconds: number; updateSeconds: number }> {
  return withDatabase(server, async (postgres) => {
    const redisServer = await startRedis();
    const redis = new Redis(createRedisClient({ url: redisServer.url, ca: null }));
    try {
      await ensureSlot(postgres, POOL, TARGET, [randomUUID(), randomUUID()]);
      const tag = await identify(postgres, POOL, TARGET);
      const snapshot = new RedisSnapshotStore(redis, tag, randomUUID, async () => undefined);
      const ledger = new PostgresLedger({
        postgres,
        pool: POOL,
        target: TARGET,
        changeLog,
        onEnded: () => undefined,
        rebuildMoves: async () => true,
      });
      const clock = () => observationTime(redis, tag);
      const agreed = () =>
        agree({ ledger, snapshot, clock, newId: randomUUID, wait: async () => undefined, onResync: () => undefined });
      await agreed();
      const { timeline } = await ledger.slot();
      const all = async (version: number) => {
        let seconds = 0;
        for (let first = 0; first < users; first += rows) {
          const observedAt = await clock();
          const changes: Change[] = [];
          for (let i = first; i < Math.min(users, first + rows); i++) {
            const row = rowOf(i, version);
            changes.push({
              kind: 'upsert',
              sub: row.username,
              row,
              observedAt: observedAt + version,
              fingerprint: fingerprintOf(row, timeline),
            });
          }
          const began = performance.now();
          await apply(
            { type: 'batch', v: WIRE_VERSION, pool: POOL, timeline, scan: null, changes },
            { ledger, snapshot, agree: agreed, newId: randomUUID, guard: { count: null, percent: null } },
          );
          seconds += (performance.now() - began) / 1000;
        }
        return seconds;
      };
      const insertSeconds = await all(0);
      const updateSeconds = await all(1);
      return { insertSeconds, updateSeconds };
    } finally {
      redis.client.disconnect();
      await redisServer.stop();
    }
  });
}
