/** Alerts and dashboard name only metrics and labels that there are. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createProcessMetrics, METRICS } from '../../shared/metrics.ts';
import { CHART, find, type Manifest, rendered } from './helm.ts';

const values = {
  example: 'monitoring-values.yaml',
  set: { 'publisher.enabled': true, 'config.eventBusName': 'users' },
};
const DASHBOARD = JSON.parse(readFileSync(`${CHART}dashboards/cognito-feed.json`, 'utf8')) as Manifest;

/** Names of samples, each with its labels. */
async function known(): Promise<Map<string, readonly string[]>> {
  const names = new Map<string, readonly string[]>();
  for (const { name, type, labels } of METRICS) {
    if (type !== 'histogram') names.set(name, labels);
    else for (const part of ['bucket', 'sum', 'count']) names.set(`${name}_${part}`, [...labels, 'le']);
  }
  const page = await createProcessMetrics().scrape();
  for (const [, name = ''] of page.matchAll(/^# TYPE (cognito_feed_(?:process|nodejs)_\w+)/gm)) names.set(name, []);
  return names;
}

/** What Prometheus and the operator add. */
const ADDED = ['namespace', 'pod', 'job', 'service', 'instance'];

/** What is wrong with an expression, as far as names go; and that it is balanced. */
function problems(expression: string, names: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const metrics = [...expression.matchAll(/\b(cognito_feed_\w+)(?:\{([^}]*)\})?/g)];
  if (metrics.length === 0) found.push(`${expression}: names no metric`);
  for (const [, name = '', matchers = ''] of metrics) {
    if (!names.has(name)) found.push(`${name}: there is no such metric`);
    for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!=|!~|=)\s*"/g))
      if (![...(names.get(name) ?? []), ...ADDED].includes(label)) found.push(`${name}: has no label ${label}`);
  }
  const labels = metrics.flatMap(([, name = '']) => names.get(name) ?? []);
  for (const [, list = ''] of expression.matchAll(/\bby \(([^)]*)\)/g))
    for (const label of list.split(',').map((it) => it.trim()))
      if (![...labels, ...ADDED].includes(label)) found.push(`${expression}: nothing in it has the label ${label}`);
  for (const [open, close] of ['()', '{}', '[]'].map((pair) => pair.split('')))
    if (expression.split(open ?? '').length !== expression.split(close ?? '').length)
      found.push(`${expression}: not balanced`);
  return found;
}

describe('alerts', () => {
  it('name only metrics and labels that there are, and are those that docs/metrics.md explains', async () => {
    const names = await known();
    const [group] = find(await rendered(values), 'PrometheusRule').spec.groups;
    expect(group.rules.flatMap(({ expr }: Manifest) => problems(expr, names))).toEqual([]);
    const page = readFileSync(fileURLToPath(new URL('../../docs/metrics.md', import.meta.url)), 'utf8');
    const explained = [...page.matchAll(/^\| `(CognitoFeed\w+)`/gm)].map(([, name]) => name);
    expect([...new Set(group.rules.map(({ alert }: Manifest) => alert))].toSorted()).toEqual(explained.toSorted());
    for (const { annotations, labels } of group.rules) {
      expect(annotations).toMatchObject({
        summary: expect.stringMatching(/\S/),
        description: expect.stringMatching(/\S/),
      });
      expect(labels).toMatchObject({ severity: expect.stringMatching(/^(critical|warning)$/), team: 'identity' });
    }
  });

  it('watch this release alone, each pool for itself, with the limits that were set', async () => {
    const [group] = find(
      await rendered({
        example: 'several-pools-values.yaml',
        set: { 'monitoring.prometheusRule.enabled': true, 'monitoring.prometheusRule.staleAfterSeconds': 1_234_567 },
      }),
      'PrometheusRule',
    ).spec.groups;
    for (const { expr } of group.rules) {
      const selectors = [...expr.matchAll(/cognito_feed_\w+\{([^}]*)\}/g)].map(([, matchers]) => matchers);
      expect(selectors.every((matchers) => matchers.includes('namespace="users"'))).toBe(true);
    }
    const of = (name: string) =>
      group.rules.filter(({ alert }: Manifest) => alert === name).map(({ expr }: Manifest) => expr);
    expect(of('CognitoFeedAbsent')).toHaveLength(3);
    expect(of('CognitoFeedMirrorStale')[0]).toMatch(/> 1234567$/);
    expect(of('CognitoFeedPublisherBehind')).toEqual([]);
  });

  it('are refused where they are wrong, so the check looks', async () => {
    const names = await known();
    expect(problems('rate(cognito_feed_nothing_total[5m])', names)).toEqual([
      'cognito_feed_nothing_total: there is no such metric',
    ]);
    expect(problems('cognito_feed_rejects{user="a"}', names)).toEqual(['cognito_feed_rejects: has no label user']);
    expect(problems('sum by (target) (cognito_feed_rejects)', names)).toHaveLength(1);
    expect(problems('sum(cognito_feed_rejects', names)).toHaveLength(1);
    expect(problems('cognito_feed_apply_seconds', names)).toHaveLength(1);
  });
});

describe('the dashboard', () => {
  it('names only metrics and labels that there are', async () => {
    const names = await known();
    const targets = DASHBOARD.panels.flatMap((panel: Manifest) => panel.targets);
    expect(targets.length).toBeGreaterThan(25);
    expect(targets.flatMap(({ expr }: Manifest) => problems(expr.replaceAll('$__rate_interval', '5m'), names))).toEqual(
      [],
    );
    for (const { query } of DASHBOARD.templating.list.filter(({ type }: Manifest) => type === 'query'))
      expect(problems(query, names)).toEqual([]);
  });

  it('shows every metric of the table', () => {
    const shown = JSON.stringify(DASHBOARD.panels);
    expect(METRICS.filter(({ name }) => !shown.includes(name)).map(({ name }) => name)).toEqual([]);
  });

  it('has panels that do not overlap, and a ConfigMap that holds it as it is', async () => {
    const places = DASHBOARD.panels.flatMap(({ gridPos: { x, y, w, h } }: Manifest) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    );
    expect(new Set(places).size).toBe(places.length);
    expect(new Set(DASHBOARD.panels.map(({ id }: Manifest) => id)).size).toBe(DASHBOARD.panels.length);
    const { data, metadata } = find(await rendered(values), 'ConfigMap', 'dashboard');
    expect(JSON.parse(data['cognito-feed.json'])).toEqual(DASHBOARD);
    expect(metadata).toMatchObject({
      labels: { grafana_dashboard: '1' },
      annotations: { grafana_folder: 'Databases' },
    });
  });
});
