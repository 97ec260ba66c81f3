/** A publisher in this process, on a feed that holds what a test commits. */
import type pg from 'pg';
import { inject, onTestFinished } from 'vitest';
import { runPublisher } from '../services/publisher/main.ts';
import type { PublisherTuning } from '../services/publisher/target-publisher.ts';
import { createLog } from '../shared/log.ts';
import { Readiness } from '../shared/readiness.ts';
import { loadSettings } from '../shared/settings.ts';
import type { Env } from '../shared/settings-source.ts';
import { createFeed, POOL } from './change-log-rows.ts';
import { connected, freshDatabase } from './fresh-database.ts';
import type { Database } from './servers/database.ts';
import { until } from './until.ts';
import { SECRET } from './webhook-receiver.ts';

export interface SubscriptionRow {
  readonly name: string;
  readonly confirmed_lsn: number;
  readonly confirmed_seq: number;
  readonly fence: number;
}

export interface PendingDelivery {
  readonly lsn: number;
  readonly seq: number;
  readonly tries: number;
  readonly reason: string | null;
}

export interface RunningPublisher {
  readonly readiness: Readiness;
  /** Finished lines at level debug. */
  readonly logged: string[];
  /** As SIGTERM does. */
  stop(): Promise<void>;
}

export const QUICK: PublisherTuning = {
  schedule: { firstMs: 10, mostMs: 40, giveUpAfterMs: 60_000 },
  leaseMs: 2_000,
};

export class PublishedFeed {
  readonly database: Database;
  readonly postgres: pg.Pool;
  readonly timeline: string;

  private constructor(database: Database, postgres: pg.Pool, timeline: string) {
    this.database = database;
    this.postgres = postgres;
    this.timeline = timeline;
  }

  static async start(server: string = inject('postgres18'), roles = false): Promise<PublishedFeed> {
    const database = await freshDatabase(server);
    const postgres = connected(database.url, 4);
    return new PublishedFeed(database, postgres, await createFeed(postgres, POOL, roles));
  }

  env(url: string): Env {
    return {
      COGNITO_USER_POOL_ID: POOL,
      DATABASE_URL: this.database.url,
      WEBHOOK_URL: url,
      WEBHOOK_SECRET: SECRET,
      WEBHOOK_ALLOW_INSECURE: 'true',
    };
  }

  /** @param target a webhook's URL, or settings of its own, or a YAML file's text. Resolves when it has its targets. */
  async run(target: string | Env, tuning: PublisherTuning = QUICK, yaml?: string): Promise<RunningPublisher> {
    const env = typeof target === 'string' ? this.env(target) : { ...this.env(''), ...target };
    const settings = loadSettings(yaml === undefined ? env : { ...env, COGNITO_FEED_CONFIG: 'feed.yaml' }, {
      needs: { pool: true, database: true, changeLog: true, target: true },
      readFile: () => yaml ?? '',
    });
    const logged: string[] = [];
    const log = createLog({
      ...settings,
      logLevel: 'debug',
      logFormat: 'json',
      to: { write: (line) => void logged.push(line) },
    });
    const stop = new AbortController();
    const readiness = new Readiness();
    const ended = runPublisher(settings, log, stop.signal, readiness, tuning);
    ended.catch(() => undefined);
    const end = async () => {
      stop.abort();
      await ended;
    };
    onTestFinished(() => end().catch(() => undefined));
    await Promise.race([
      ended,
      until(
        'its targets',
        () => logged.some((line) => /delivering what follows|standing by|no feed/.test(line)),
        () => logged.join(''),
      ),
    ]);
    return { readiness, logged, stop: end };
  }

  async subscription(name = 'webhook'): Promise<SubscriptionRow> {
    const { rows } = await this.postgres.query<SubscriptionRow>(
      'select name, confirmed_lsn::int, confirmed_seq, fence::int from cognito_feed.subscriptions where name = $1 and pool = $2',
      [name, POOL],
    );
    if (rows[0] === undefined) throw new Error(`no subscription ${name}`);
    return rows[0];
  }

  async pending(): Promise<PendingDelivery[]> {
    const { rows } = await this.postgres.query<PendingDelivery>(
      'select lsn::int, seq, tries, reason from cognito_feed.pending_deliveries order by lsn, seq',
    );
    return rows;
  }

  async deadLetters() {
    const { rows } = await this.postgres.query<{
      id: string;
      subscription: string;
      lsn: number;
      seq: number;
      reason: string;
      tries: number;
    }>('select id, subscription, lsn::int, seq, reason, tries from cognito_feed.dead_letters order by lsn, seq');
    return rows;
  }

  /** Until everything up to here is settled and nothing is owed. */
  async settled(lsn: number, name = 'webhook', timeoutMs = 30_000): Promise<void> {
    const look = async () => {
      const { confirmed_lsn } = await this.subscription(name);
      return confirmed_lsn >= lsn && (await this.pending()).length === 0;
    };
    await until(`position ${lsn} of ${name}`, look, () => '', timeoutMs);
  }
}
