/** `/metrics` through a feed's life: what it counts is what the change log has, and staleness tells an outage. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { run } from '../services/cli/commands/run.ts';
import { METRICS } from '../shared/metrics.ts';
import { loadSettings } from '../shared/settings.ts';
import { Shutdown } from '../shared/shutdown.ts';
import { churn } from './emulator/churn.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { MetricsPage } from './metrics-page.ts';
import { freePort } from './servers/free-port.ts';
import { type PostgresServer, startPostgres } from './servers/postgres.ts';
import { until } from './until.ts';
import { SECRET, WebhookReceiver } from './webhook-receiver.ts';

const redis = redisOfFile();
let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres({ major: 18 });
});
afterAll(() => server?.stop());

/** `cognito-feed run` in this process, and its page. */
async function serve(feed: Feed, env: Readonly<Record<string, string>> = {}) {
  const port = await freePort();
  const stop = new AbortController();
  const settings = loadSettings({ ...feed.env, ...env, HTTP_PORT: String(port) });
  const ended = run({
    settings,
    options: {},
    args: [],
    log: feed.log,
    signal: stop.signal,
    shutdown: new Shutdown({ on: () => undefined, exit: () => undefined }),
    stdout: { write: () => undefined },
    stderr: { write: () => undefined },
    env: {},
  });
  const end = async () => {
    stop.abort();
    expect(await ended).toBe(0);
  };
  onTestFinished(async () => {
    stop.abort();
    await ended.catch(() => undefined);
  });
  const scrape = () => MetricsPage.scrape(port);
  let last = '';
  /** The first page that fits. */
  const page = (what: string, fits: (page: MetricsPage) => boolean | undefined) =>
    until(
      what,
      async () => {
        const one = await scrape();
        last = one.text.replaceAll(/^(#|cognito_feed_(process|nodejs)|.*_bucket).*\n/gm, '');
        return fits(one) === true ? one : undefined;
      },
      () => `${last}\n${feed.logged.slice(-10).join('')}`,
    );
  return { scrape, page, end };
}

/** Changes in the log by op, and as the counters have them. */
async function expectCountersAgree(feed: Feed, page: MetricsPage): Promise<void> {
  const rows = await feed.query<{ op: string; n: number }>(
    'select op, count(*)::int as n from cognito_feed.changes where pool = $1 group by op',
    [feed.pool.id],
  );
  const logged = Object.fromEntries(rows.map(({ op, n }) => [op, n]));
  const counted = Object.fromEntries(
    page.samples
      .filter(({ name }) => name === 'cognito_feed_changes_total')
      .map(({ labels, value }) => [labels['op'], value]),
  );
  expect(counted).toEqual(logged);
}

const stale = (page: MetricsPage) => page.value('staleness_seconds');

describe('/metrics', () => {
  test('through initial copy, churn, an outage of Cognito and recovery', async () => {
    const feed = await startFeed({ redis, settings: { POLL_INTERVAL: '200ms' } });
    const { pool } = feed;
    pool.fill(1_000);
    const { scrape, page, end } = await serve(feed);

    const copied = await page(
      'the initial copy',
      (it) => it.value('mirror_users') === 1_000 && stale(it) !== undefined,
    );
    expect(copied.value('changes_total', { op: 'read' })).toBe(1_000);
    expect(copied.value('batches_total', { outcome: 'committed' })).toBeGreaterThanOrEqual(1);
    expect(copied.value('apply_seconds_count')).toBeGreaterThanOrEqual(1);
    expect(copied.value('scan_pages_total')).toBeGreaterThanOrEqual(17);
    expect(copied.value('users_seen_total')).toBeGreaterThanOrEqual(1_000);
    expect(copied.value('requests_total', { operation: 'ListUsers', outcome: 'ok' })).toBeGreaterThanOrEqual(17);
    expect(copied.value('budget_requests_total', { purpose: 'scan' })).toBeGreaterThanOrEqual(17);
    expect(copied.value('budget_limit_requests_per_second')).toBe(1_000);
    expect(copied.value('held_deletes')).toBe(0);
    expect(copied.value('rejects')).toBe(0);

    const steps = churn(pool, { seed: 11 });
    for (let i = 0; i < 200; i++) steps.next();
    await feed.scan();
    await feed.scan();
    await feed.expectMirrorEqualsPool();
    const churned = await page('the churn', (it) => it.value('mirror_users') === pool.size && (stale(it) ?? 99) < 3);
    await expectCountersAgree(feed, churned);
    expect(churned.value('changes_total', { op: 'update' })).toBeGreaterThan(0);
    expect(churned.value('scans_total', { outcome: 'complete' })).toBeGreaterThanOrEqual(3);
    expect(churned.value('scan_duration_seconds_count')).toBe(churned.value('scans_total', { outcome: 'complete' }));
    expect(churned.value('throttles_total')).toBeUndefined();

    feed.emulator.faults.set({ failures: [{ kind: 'error', error: 'TooManyRequestsException' }] });
    const throttled = await page('staleness to rise', (it) => (stale(it) ?? 0) > 4);
    expect(throttled.value('throttles_total')).toBeGreaterThan(0);
    expect(throttled.value('requests_total', { outcome: 'aws-throttled' })).toBe(throttled.value('throttles_total'));
    feed.emulator.faults.reset();
    const recovered = await page('staleness to fall', (it) => (stale(it) ?? 99) < 3);
    await expectCountersAgree(feed, recovered);
    expect((await scrape()).value('resyncs_total')).toBe(copied.value('resyncs_total'));
    await end();
  });

  test('through an outage of Postgres: it answers, staleness grows, what waits is seen to wait; then all is well again', async () => {
    const feed = await startFeed({ redis, postgres: server.url(), settings: { POLL_INTERVAL: '200ms' } });
    feed.pool.fill(300);
    const { page, end } = await serve(feed);
    const before = await page('the copy', (it) => it.value('mirror_users') === 300 && (stale(it) ?? 99) < 2);

    await server.kill();
    feed.pool.create({ username: 'during-the-outage' });
    const down = await page(
      'staleness to rise, and a job to wait',
      (it) => (stale(it) ?? 0) > 4 && (it.value('queue_age_seconds') ?? 0) > 2,
    );
    expect(down.value('mirror_users')).toBe(300);
    expect(down.value('changes_total')).toBe(before.value('changes_total'));
    await server.start();
    const up = await page('recovery', (it) => (stale(it) ?? 99) < 2 && it.value('mirror_users') === 301);
    expect(up.value('queue_age_seconds')).toBeLessThan(10);
    await expectCountersAgree(feed, up);
    await end();
  });

  test('tells of held deletes, rejected rows, resyncs by reason, and targets that are behind', async () => {
    let accepts = true;
    const receiver = await WebhookReceiver.start(() => (accepts ? 200 : 503));
    const feed = await startFeed({
      redis,
      settings: { POLL_INTERVAL: '200ms', DELETE_GUARD_COUNT: '5', DELETE_GUARD_PERCENT: '1' },
    });
    feed.pool.fill(200);
    const { page, end } = await serve(feed, {
      WEBHOOK_URL: receiver.url,
      WEBHOOK_SECRET: SECRET,
      WEBHOOK_ALLOW_INSECURE: 'true',
    });
    await page('the copy', (it) => it.value('mirror_users') === 200 && it.value('publisher_lag_changes') === 0);
    accepts = false;
    await feed.query(`alter table cognito.users add constraint refuses check (username <> 'refused')`);
    feed.pool.create({ username: 'refused' });
    feed.pool.create({ username: 'welcome' });
    const gone = feed.poolRows().filter(({ username }) => !['refused', 'welcome'].includes(username));
    for (const { username } of gone.slice(0, 20)) feed.pool.delete(username);
    const held = await page(
      'held deletes, a reject and a target that is behind',
      (it) =>
        it.value('held_deletes') === 20 &&
        it.value('rejects') === 1 &&
        (it.value('publisher_lag_seconds', { target: 'webhook' }) ?? 0) > 0 &&
        (it.value('deliveries_total', { outcome: 'failed' }) ?? 0) > 0,
    );
    expect(held.value('publisher_lag_changes')).toBe(1);
    accepts = true;
    await page(
      'the delivery',
      (it) => it.value('publisher_lag_changes') === 0 && it.value('deliveries_total', { outcome: 'delivered' }) === 1,
    );
    await feed.redis.client.flushall();
    await page('a resync', (it) => (it.value('resyncs_total', { reason: 'no snapshot' }) ?? 0) > 0);
    await end();
  });

  test('names what the table names and nothing of a user', async () => {
    const feed = await startFeed({ redis, settings: { POLL_INTERVAL: '200ms' } });
    feed.pool.create({ username: 'somebody-in-particular', attributes: [['email', 'secret@example.com']] });
    const { page, end } = await serve(feed);
    const { samples, text } = await page('the copy', (it) => it.value('mirror_users') === 1);
    const known = METRICS.flatMap(({ name, type }) =>
      type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    );
    const others = samples.map(({ name }) => name).filter((name) => !known.includes(name));
    expect(others.filter((name) => !/^cognito_feed_(process|nodejs)_/.test(name))).toEqual([]);
    expect(text).not.toMatch(/somebody|secret@|example\.com/);
    await end();
  });
});
