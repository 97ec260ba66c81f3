/** The metrics and their page are the same; names and labels are what Prometheus' conventions ask for. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createMetrics, createProcessMetrics, METRICS, PREFIX } from '../shared/metrics.ts';
import { withMetricsTable } from './metrics-table.ts';

const PAGE = fileURLToPath(new URL('../docs/metrics.md', import.meta.url));
const UNITS = ['seconds', 'bytes', 'requests_per_second', 'total'];
/** Labels whose values come from the settings or from words in the code: nothing in them grows with the pool. */
const BOUNDED = ['pool', 'target', 'region', 'op', 'outcome', 'reason', 'operation', 'purpose', 'source'];

describe('the metrics', () => {
  it('have the page docs/metrics.md (npx vitest run --project unit test/metrics-table -u makes it anew)', async () => {
    await expect(withMetricsTable(await readFile(PAGE, 'utf8'))).toMatchFileSnapshot(PAGE);
  });

  it('are named once, with their unit at the end', () => {
    expect(new Set(METRICS.map(({ name }) => name)).size).toBe(METRICS.length);
    for (const { name, type } of METRICS) {
      expect(name.startsWith(PREFIX)).toBe(true);
      expect(name.endsWith('_total'), name).toBe(type === 'counter');
      // A count of things that are there now is its own unit.
      const counted = ['users', 'changes', 'deletes', 'rejects', 'paused'];
      expect(
        [...UNITS, ...counted].some((unit) => name.endsWith(`_${unit}`)),
        name,
      ).toBe(true);
      if (type === 'histogram') expect(name).toMatch(/_seconds$/);
    }
  });

  it('have bounded labels', () => {
    for (const { labels } of METRICS) expect(labels.filter((label) => !BOUNDED.includes(label))).toEqual([]);
    for (const { buckets } of METRICS) expect(buckets?.length ?? 1).toBeLessThanOrEqual(12);
  });

  it('are all given by a scrape, with what is known of the process; what is looked up then is asked first', async () => {
    const metrics = createProcessMetrics();
    let asked = 0;
    const done = metrics.onScrape(() => {
      asked++;
      metrics.staleness.set({ pool: 'p' }, asked);
    });
    const page = await metrics.scrape();
    for (const { name, type } of METRICS) expect(page).toContain(`# TYPE ${name} ${type}`);
    expect(page).toContain('cognito_feed_process_resident_memory_bytes');
    expect(page).toContain('cognito_feed_staleness_seconds{pool="p"} 1');
    done();
    await metrics.scrape();
    expect(asked).toBe(1);
  });

  it('of two processes in one know nothing of each other', async () => {
    const [one, other] = [createMetrics(new Registry()), createMetrics()];
    one.throttles.inc({ pool: 'p' });
    expect(await one.scrape()).toContain('cognito_feed_throttles_total{pool="p"} 1');
    expect(await other.scrape()).not.toContain('{pool="p"}');
  });
});
