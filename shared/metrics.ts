/**
 * Every metric there is, in one table: the instruments, docs/metrics.md, the alerts and the dashboard are held to it. Labels are bounded: pools,
 * targets, Regions and words of the code; never a user.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Ends in its unit; a counter's in `_total`. */
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** Which service gives it. */
  readonly service: 'poller' | 'writer' | 'publisher';
  /** A histogram's upper bounds, in its unit. */
  readonly buckets?: readonly number[];
}

/** From an answer out of the next rack to one that timed out (cognito.ts: 15 s). */
const REQUEST_SECONDS = [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 15];
/** From a batch of one change to one of a thousand on a busy database. */
const APPLY_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** From a pool of one page to one of ten million users, which takes 93 minutes at AWS's quota. */
const SCAN_SECONDS = [1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200];
/** The bounds of hint-record.ts. */
const REFRESH_SECONDS = [0.5, 1, 2, 5, 10, 30, 60, 300, 1800];

/** By the names that the code uses. */
export const METRIC = {
  staleness: {
    type: 'gauge',
    name: 'cognito_feed_staleness_seconds',
    help: 'Now minus as_of, the start of the last complete scan that has been applied; grows when scanning stops. Absent before the first.',
    labels: ['pool'],
    service: 'writer',
  },
  mirrorUsers: {
    type: 'gauge',
    name: 'cognito_feed_mirror_users',
    help: 'Users in the mirror.',
    labels: ['pool'],
    service: 'writer',
  },
  changes: {
    type: 'counter',
    name: 'cognito_feed_changes_total',
    help: 'Changes committed to the mirror, by op: read (initial copy), insert, update, delete.',
    labels: ['pool', 'op'],
    service: 'writer',
  },
  batches: {
    type: 'counter',
    name: 'cognito_feed_batches_total',
    help: 'Batches done, by outcome: committed, no_news (nothing in them was new), dropped (some changes came too late to count).',
    labels: ['pool', 'outcome'],
    service: 'writer',
  },
  applySeconds: {
    type: 'histogram',
    name: 'cognito_feed_apply_seconds',
    help: 'From a batch taken to its changes committed and known to the snapshot; an outage that it waited for counts.',
    labels: ['pool'],
    service: 'writer',
    buckets: APPLY_SECONDS,
  },
  queuedChanges: {
    type: 'gauge',
    name: 'cognito_feed_queued_changes',
    help: 'Changes that wait for the writer, or are under way.',
    labels: ['pool'],
    service: 'writer',
  },
  queueAge: {
    type: 'gauge',
    name: 'cognito_feed_queue_age_seconds',
    help: 'Since when the oldest job for the writer waits; 0: none does.',
    labels: ['pool'],
    service: 'writer',
  },
  heldDeletes: {
    type: 'gauge',
    name: 'cognito_feed_held_deletes',
    help: 'Deletes that are held back.',
    labels: ['pool'],
    service: 'writer',
  },
  rejects: {
    type: 'gauge',
    name: 'cognito_feed_rejects',
    help: 'Rows that Postgres refuses.',
    labels: ['pool'],
    service: 'writer',
  },
  resyncs: {
    type: 'counter',
    name: 'cognito_feed_resyncs_total',
    help: 'New timelines, by reason.',
    labels: ['pool', 'reason'],
    service: 'writer',
  },
  scans: {
    type: 'counter',
    name: 'cognito_feed_scans_total',
    help: 'Scans that ended, by outcome: complete, incomplete.',
    labels: ['pool', 'outcome'],
    service: 'poller',
  },
  scanSeconds: {
    type: 'histogram',
    name: 'cognito_feed_scan_duration_seconds',
    help: 'How long complete scans took, from their start to the last batch applied.',
    labels: ['pool'],
    service: 'poller',
    buckets: SCAN_SECONDS,
  },
  scanPages: {
    type: 'counter',
    name: 'cognito_feed_scan_pages_total',
    help: 'Pages of ListUsers that scans have read.',
    labels: ['pool'],
    service: 'poller',
  },
  usersSeen: {
    type: 'counter',
    name: 'cognito_feed_users_seen_total',
    help: 'Users on the pages that scans have read.',
    labels: ['pool'],
    service: 'poller',
  },
  requests: {
    type: 'counter',
    name: 'cognito_feed_requests_total',
    help: "Requests to Cognito, by operation and outcome: ok, or the error's kind as the troubleshooting table has it, such as aws-throttled.",
    labels: ['pool', 'operation', 'outcome'],
    service: 'poller',
  },
  requestSeconds: {
    type: 'histogram',
    name: 'cognito_feed_request_duration_seconds',
    help: 'How long Cognito took to answer.',
    labels: ['pool', 'operation'],
    service: 'poller',
    buckets: REQUEST_SECONDS,
  },
  throttles: {
    type: 'counter',
    name: 'cognito_feed_throttles_total',
    help: 'Requests that Cognito throttled.',
    labels: ['pool'],
    service: 'poller',
  },
  budgetUsed: {
    type: 'counter',
    name: 'cognito_feed_budget_requests_total',
    help: 'Places taken from the budget of ListUsers requests, by purpose: scan, refresh.',
    labels: ['region', 'purpose'],
    service: 'poller',
  },
  budgetLimit: {
    type: 'gauge',
    name: 'cognito_feed_budget_limit_requests_per_second',
    help: 'REQUESTS_PER_SECOND, which all replicas share.',
    labels: ['region'],
    service: 'poller',
  },
  paused: {
    type: 'gauge',
    name: 'cognito_feed_paused',
    help: 'Chains of pages that hold back now, because too much waits for the writer or Redis is nearly full; 0: none does.',
    labels: ['pool'],
    service: 'poller',
  },
  refreshHints: {
    type: 'counter',
    name: 'cognito_feed_refresh_hints_total',
    help: 'Hints that a user may have changed, by source (cli, http, sqs, lane) and what became of them. Counted in Redis by the whole deployment: every writer gives the same, so take the max of them.',
    labels: ['pool', 'source', 'outcome'],
    service: 'writer',
  },
  refreshSeconds: {
    type: 'histogram',
    name: 'cognito_feed_refresh_latency_seconds',
    help: "What a refresh found: from Cognito's last-modified date to the commit.",
    labels: ['pool'],
    service: 'writer',
    buckets: REFRESH_SECONDS,
  },
  deliveries: {
    type: 'counter',
    name: 'cognito_feed_deliveries_total',
    help: 'Tries to deliver a change, by outcome: delivered, failed (it is tried again), refused (a dead letter).',
    labels: ['pool', 'target', 'outcome'],
    service: 'publisher',
  },
  publisherLagChanges: {
    type: 'gauge',
    name: 'cognito_feed_publisher_lag_changes',
    help: 'Changes in the log that a target has not been given yet.',
    labels: ['pool', 'target'],
    service: 'publisher',
  },
  publisherLagSeconds: {
    type: 'gauge',
    name: 'cognito_feed_publisher_lag_seconds',
    help: 'Age of the oldest change in the log that a target has not been given yet; 0: none waits.',
    labels: ['pool', 'target'],
    service: 'publisher',
  },
} as const satisfies Record<string, MetricDefinition>;

type Name = keyof typeof METRIC;
type Labels<N extends Name> = (typeof METRIC)[N]['labels'][number];
type Instrument<N extends Name> = (typeof METRIC)[N]['type'] extends 'counter'
  ? Counter<Labels<N>>
  : (typeof METRIC)[N]['type'] extends 'gauge'
    ? Gauge<Labels<N>>
    : Histogram<Labels<N>>;

/** Before the name of everything: ours, and what prom-client says of the process. */
export const PREFIX = 'cognito_feed_';
export const METRICS: readonly MetricDefinition[] = Object.values(METRIC);

/** The instruments, and `onScrape` for what is only known when it is asked. */
export type Metrics = { readonly [N in Name]: Instrument<N> } & {
  /** Called before each scrape; it must not wait. @returns what takes it back */
  onScrape(collect: () => void): () => void;
  /** All of them as text. */
  scrape(): Promise<string>;
  readonly contentType: string;
};

export function createMetrics(registry: Registry = new Registry()): Metrics {
  const collectors = new Set<() => void>();
  const instruments = Object.entries(METRIC).map(([key, definition]) => [key, instrument(definition, registry)]);
  return {
    ...(Object.fromEntries(instruments) as { [N in Name]: Instrument<N> }),
    onScrape(collect) {
      collectors.add(collect);
      return () => void collectors.delete(collect);
    },
    async scrape() {
      for (const collect of collectors) collect();
      return await registry.metrics();
    },
    contentType: registry.contentType,
  };
}

/** With what prom-client knows of the process: CPU, memory, event loop, garbage collection. */
export function createProcessMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: PREFIX });
  return createMetrics(registry);
}

function instrument({ type, name, help, labels, buckets }: MetricDefinition, registry: Registry) {
  const configuration = { name, help, labelNames: [...labels], registers: [registry] };
  if (type === 'counter') return new Counter(configuration);
  if (type === 'gauge') return new Gauge(configuration);
  return new Histogram({ ...configuration, ...(buckets === undefined ? {} : { buckets: [...buckets] }) });
}
