/**
 * Deliveries a second for one webhook endpoint that answers at once, beside bare POSTs of the same body over as many connections: what reading the log,
 * lanes, signing and keeping the position cost. The receiver is a process of its own.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { runPublisher } from '../../services/publisher/main.ts';
import { createLog } from '../../shared/log.ts';
import { connectPostgres } from '../../shared/postgres.ts';
import { loadSettings } from '../../shared/settings.ts';
import { commitChanges, createFeed, POOL } from '../change-log-rows.ts';
import { createDatabase } from '../servers/database.ts';
import type { PostgresServer } from '../servers/postgres.ts';
import { until } from '../until.ts';
import { median } from './processes.ts';

/** As many as a webhook has (services/publisher/webhook-target.ts). */
const CONNECTIONS = 32;
const USERS = 2_000;
const COMMIT = 500;
const RECEIVER = `const s = require('http').createServer((q, r) => { q.resume(); q.on('end', () => r.end('ok')); });
  s.listen(0, '127.0.0.1', () => console.log(s.address().port))`;

export interface DeliveryFigures {
  readonly deliveries: number;
  /** Each a second. */
  readonly webhook: number;
  readonly barePosts: number;
}

export async function benchDeliveries(
  deliveries: number,
  runs: number,
  server: PostgresServer,
  say: (line: string) => void,
): Promise<DeliveryFigures> {
  const receiver = spawn(process.execPath, ['-e', RECEIVER], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [port] = (await once(receiver.stdout, 'data')) as [Buffer];
    const url = `http://127.0.0.1:${String(port).trim()}/hook`;
    const rates: { webhook: number; bare: number }[] = [];
    for (let run = 1; run <= runs; run++) {
      say(`deliveries: run ${run} of ${runs}`);
      rates.push({ bare: await barePosts(url, deliveries), webhook: await webhooks(url, deliveries, server) });
    }
    return {
      deliveries,
      webhook: median(rates.map(({ webhook }) => webhook)),
      barePosts: median(rates.map(({ bare }) => bare)),
    };
  } finally {
    receiver.kill();
  }
}

const rowOf = (n: number) => ({
  ...{ username: `user-${n}`, email: `user${n}@example.com`, status: 'CONFIRMED', enabled: true },
  ...{ created_at: '2026-01-01T00:00:00.000', updated_at: '2026-01-01T00:00:00.000' },
  attributes: [
    { sub: `user-${n}` },
    { email: `user${n}@example.com` },
    { name: `User ${n}` },
    { 'custom:tenant': 't1' },
  ],
});

async function webhooks(url: string, deliveries: number, server: PostgresServer): Promise<number> {
  const database = await createDatabase(server.url());
  const postgres = connectPostgres({ url: database.url, applicationName: 'bench', max: 2 });
  const stop = new AbortController();
  try {
    await createFeed(postgres);
    const settings = loadSettings({
      ...{ COGNITO_USER_POOL_ID: POOL, DATABASE_URL: database.url, WEBHOOK_URL: url, WEBHOOK_ALLOW_INSECURE: 'true' },
      WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 1).toString('base64')}`,
    });
    await postgres.query(
      `insert into cognito_feed.subscriptions (name, pool, confirmed_seq) values ('webhook', $1, 2147483647)`,
      [POOL],
    );
    let lsn = 0;
    for (let n = 0; n < deliveries; n += COMMIT) {
      const changes = Array.from({ length: Math.min(COMMIT, deliveries - n) }, (_, i) => {
        const row = rowOf((n + i) % USERS);
        return {
          op: 'update' as const,
          sub: row.username,
          username: row.username,
          changed: ['status'],
          old: row,
          new: row,
        };
      });
      lsn = await commitChanges(postgres, changes);
    }
    const startedAt = performance.now();
    const publisher = runPublisher(settings, createLog({ logLevel: 'silent' }), stop.signal);
    await until(
      'all deliveries',
      async () => {
        const { rowCount } = await postgres.query('select from cognito_feed.subscriptions where confirmed_lsn = $1', [
          lsn,
        ]);
        return rowCount === 1;
      },
      () => '',
      600_000,
    );
    const seconds = (performance.now() - startedAt) / 1_000;
    stop.abort();
    await publisher;
    return deliveries / seconds;
  } finally {
    await postgres.end();
    await database.drop();
  }
}

async function barePosts(url: string, posts: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const row = rowOf(1);
  const body = JSON.stringify({ type: 'UPDATE', table: 'users', schema: 'cognito', record: row, old_record: row });
  const post = () =>
    new Promise<void>((resolve, reject) => {
      const sent = request(
        url,
        { method: 'POST', agent, headers: { 'content-type': 'application/json' } },
        (answer) => {
          answer.resume();
          answer.on('end', resolve);
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  const startedAt = performance.now();
  let left = posts;
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (left-- > 0) await post();
    }),
  );
  agent.destroy();
  return posts / ((performance.now() - startedAt) / 1_000);
}
