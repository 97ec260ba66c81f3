/** Issue 4: logical replication with Postgres' own means sees the mirror's real changes, as what they are. */
import { expect, inject, onTestFinished, test } from 'vitest';
import { startVictim } from './crash/victim.ts';
import { churn } from './emulator/churn.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { connected } from './fresh-database.ts';
import { expectEqualRows, mirrorRows } from './rows.ts';
import { createDatabase } from './servers/database.ts';
import { startPostgres } from './servers/postgres.ts';
import { until } from './until.ts';

const redis = redisOfFile();
const MIRROR = `create schema cognito; create table cognito.users (username text primary key, email text, status text, enabled boolean,
  created_at timestamp, updated_at timestamp, attributes jsonb)`;

function change(feed: Feed, steps: number, seed: string): void {
  const changes = churn(feed.pool, { seed });
  for (let n = 0; n < steps; n++) changes.next();
}

test('a second Postgres follows by CREATE SUBSCRIPTION: initial copy, churn, a writer killed mid-batch, a resync', async () => {
  const feed = await startFeed({ redis, settings: { POLL_INTERVAL: '300ms' } });
  feed.pool.fill(2_000);
  const server = await startPostgres({ major: 18 });
  onTestFinished(() => server.stop());
  const replica = connected((await createDatabase(server.url())).url);
  await replica.query(MIRROR);
  const { hostname, port, username, password, pathname } = new URL(feed.database.url);
  await replica.query(
    `create subscription mirror connection 'host=${hostname} port=${port} user=${username} password=${password} dbname=${pathname.slice(1)}' publication cognito_users`,
  );
  try {
    // The initial copy comes by replication: the mirror was empty when the subscription began.
    const first = feed.run();
    await feed.scan();
    change(feed, 200, 'first');
    await feed.scan();
    await first.stop();

    change(feed, 150, 'second');
    const victim = startVictim('writer', feed.env, 'writer: before COMMIT');
    const poller = feed.runPoller();
    await victim.died;
    const heir = feed.runWriter();
    await until('a complete scan', async () => (await feed.scan()).complete);

    const { timeline } = await feed.slot();
    await feed.redis.client.flushall();
    await until('another timeline', async () => {
      const slot = await feed.slot();
      return slot.timeline !== timeline && slot.resync_reason === null;
    });
    change(feed, 100, 'third');
    await until('a complete scan', async () => (await feed.scan()).complete);
    await feed.expectMirrorEqualsPool();
    await poller.stop();
    await heir.stop();
    await until('the replica', async () => {
      const [mirror, copy] = await Promise.all([feed.mirrorRows(), mirrorRows(replica)]);
      try {
        expectEqualRows(copy, mirror);
        return true;
      } catch {
        return false;
      }
    });
    expectEqualRows(await mirrorRows(replica), feed.poolRows(), { anyAttributeOrder: true });
    expect((await replica.query('select from pg_stat_subscription_stats where apply_error_count > 0')).rowCount).toBe(
      0,
    );
  } finally {
    await replica.query('drop subscription mirror');
  }
}, 120_000);

test.for(['postgres15', 'postgres18'] as const)(
  'a replication slot sees only real changes, each as what it is, on %s',
  async (major) => {
    const feed = await startFeed({ redis, postgres: inject(major) });
    feed.pool.fill(300);
    await feed.sync();
    const slot = `cf_${Math.floor(Math.random() * 1e9)}`;
    await feed.query(`select pg_create_logical_replication_slot($1, 'test_decoding')`, [slot]);
    onTestFinished(async () => {
      // Before the database, which can't be dropped while it has a slot.
      await connected(feed.database.url)
        .query('select pg_drop_replication_slot($1)', [slot])
        .catch(() => undefined);
    });
    try {
      const since = (await feed.slot()).lsn;
      await feed.sync();
      await feed.sync();
      expect(await decoded(feed, slot)).toEqual([]);
      change(feed, 120, 'decoded');
      await feed.sync();
      const seen = await decoded(feed, slot);
      const logged = await feed.query<{ op: string; username: string }>(
        'select op, username from cognito_feed.changes where lsn > $1 order by lsn, seq',
        [since],
      );
      expect(logged.length).toBeGreaterThan(40);
      expect(seen).toEqual(logged.map(({ op, username }) => `${op.toUpperCase()} ${username}`));
      await feed.sync();
      expect(await decoded(feed, slot)).toEqual([]);
    } finally {
      await feed.query('select pg_drop_replication_slot($1)', [slot]);
    }
  },
);

/** `UPDATE ann`: what the plug-in says of the mirror since the last call. For a delete it has the replica identity, the primary key. */
async function decoded(feed: Feed, slot: string): Promise<string[]> {
  const rows = await feed.query<{ data: string }>(
    `select data from pg_logical_slot_get_changes($1, null, null, 'skip-empty-xacts', '1')`,
    [slot],
  );
  return rows.flatMap(({ data }) => {
    const match = /^table cognito\.users: (INSERT|UPDATE|DELETE): username\[text\]:'((?:[^']|'')*)'/.exec(data);
    return match === null ? [] : [`${match[1]} ${match[2]?.replaceAll("''", "'")}`];
  });
}
