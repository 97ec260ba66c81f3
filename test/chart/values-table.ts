/** The table of the chart's README, made of the descriptions (`# --`) in values.yaml. */
import { isMap, isScalar, parseDocument, type YAMLMap } from 'yaml';

export interface DescribedValue {
  /** As `--set` writes it. */
  readonly path: string;
  readonly standard: unknown;
  /** Of itself, or of what it stands in; '' where there is none. */
  readonly description: string;
}

/** Every value that has a description, and every leaf that should have one. */
export function describedValues(source: string): DescribedValue[] {
  const document = parseDocument(source);
  if (!isMap(document.contents)) throw new TypeError('values.yaml is no map');
  return valuesIn(document.contents, '', document.contents.commentBefore ?? '');
}

function valuesIn(map: YAMLMap, prefix: string, commentOfFirst: string): DescribedValue[] {
  return map.items.flatMap(({ key, value }, i) => {
    if (!isScalar(key)) throw new TypeError('a key that is no text');
    const path = `${prefix}${key.value}`;
    const comment = key.commentBefore ?? (i === 0 ? commentOfFirst : '');
    const description = descriptionIn(comment);
    if (description === '' && isMap(value) && value.items.length > 0) {
      return valuesIn(value, `${path}.`, value.commentBefore ?? '');
    }
    const standard =
      isMap(value) || value === null ? (value as YAMLMap).toJSON() : (value as { toJSON(): unknown }).toJSON();
    return [{ path, standard, description }];
  });
}

function descriptionIn(comment: string): string {
  const lines = comment.split('\n').map((line) => line.trim());
  const start = lines.findLastIndex((line) => line.startsWith('-- '));
  return start < 0 ? '' : lines.slice(start).join(' ').slice(3);
}

export const BEGIN = '<!-- values: begin -->';
export const END = '<!-- values: end -->';

/** The README with its table made anew. */
export function withTable(readme: string, source: string): string {
  const rows = describedValues(source).map(
    ({ path, standard, description }) => `| \`${path}\` | \`${JSON.stringify(standard)}\` | ${description} |`,
  );
  const table = ['| value | default | |', '| --- | --- | --- |', ...rows].join('\n');
  const [before, rest] = readme.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error('the README lacks the marks of its table');
  return `${before}${BEGIN}\n${table}\n${END}${after}`;
}
