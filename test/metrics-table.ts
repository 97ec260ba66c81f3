/** docs/metrics.md's table, made of the definitions. */
import { METRICS } from '../shared/metrics.ts';

export const BEGIN = '<!-- metrics: begin -->';
export const END = '<!-- metrics: end -->';

/** The page with its table made anew. */
export function withMetricsTable(page: string): string {
  const rows = METRICS.map(
    ({ name, type, labels, service, help }) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${service} | ${help} |`,
  );
  const table = ['| metric | type | labels | from | |', '| --- | --- | --- | --- | --- |', ...rows].join('\n');
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error('the page lacks the marks of its table');
  return `${before}${BEGIN}\n${table}\n${END}${after}`;
}
