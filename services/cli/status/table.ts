/** The status for people: a table with a column for each mirror, no wider than a terminal. Pure. */
import { grouped, type Paint, spoken } from '../paint.ts';
import type { MirrorStatus } from './mirror-status.ts';

const LABEL_COLUMNS = 16;
const GAP = 2;
/** A value needs so much: a timestamp with its mark, a name of a table. */
const LEAST_COLUMNS = 30;
const UNKNOWN = '–';

/** @param columns the terminal's width */
export function statusTable(pools: readonly MirrorStatus[], columns: number, paint: Paint): string {
  const beside = Math.max(1, Math.floor((columns - LABEL_COLUMNS) / (LEAST_COLUMNS + GAP)));
  const tables: string[] = [];
  for (let at = 0; at < pools.length; at += beside)
    tables.push(table(pools.slice(at, at + beside), columns, beside, paint));
  const warnings = pools.flatMap((pool) =>
    pool.warnings.flatMap((warning) => warned(pools.length > 1 ? `${pool.pool}: ${warning}` : warning, columns, paint)),
  );
  return [tables.join('\n'), ...(warnings.length > 0 ? [warnings.join('')] : [])].join('\n');
}

function table(pools: readonly MirrorStatus[], columns: number, beside: number, paint: Paint): string {
  const width = pools.length === 1 ? columns - LABEL_COLUMNS : Math.floor((columns - LABEL_COLUMNS) / beside) - GAP;
  const rows: [label: string, value: (pool: MirrorStatus) => string][] = [
    ['pool', ({ pool }) => pool],
    ['mirror', ({ target }) => target],
    ['state', ({ state }) => state ?? UNKNOWN],
    ['as of', ({ asOf }) => (asOf === null ? UNKNOWN : moment(asOf))],
    ['staleness', ({ stalenessSeconds: age }) => (age === null ? UNKNOWN : spoken(Math.max(0, age)))],
    ['users', ({ users }) => number(users)],
    ['confirmed LSN', ({ confirmedLsn }) => number(confirmedLsn)],
    ['snapshot LSN', ({ snapshotLsn }) => number(snapshotLsn)],
    ['timeline', ({ timeline }) => timeline ?? UNKNOWN],
    ['queued changes', ({ queuedChanges }) => number(queuedChanges)],
    ['last scan', ({ lastScan }) => (lastScan === null ? UNKNOWN : moment(lastScan.startedAt))],
    ['', ({ lastScan }) => (lastScan === null ? '' : walked(lastScan))],
    ['held deletes', ({ heldDeletes }) => number(heldDeletes)],
    ['rejected rows', ({ rejects }) => number(rejects)],
    ...publisherNames(pools).map((name): [string, (pool: MirrorStatus) => string] => [
      cut(name, LABEL_COLUMNS - GAP),
      ({ publishers }) => lag(publishers?.find((publisher) => publisher.name === name)?.lagChanges),
    ]),
  ];
  return rows
    .map(([label, value]) => {
      const cells = pools.map((pool) => cut(value(pool), width).padEnd(width + GAP));
      return `${paint('dim', label.padEnd(LABEL_COLUMNS))}${cells.join('')}`.trimEnd();
    })
    .map((line) => `${line}\n`)
    .join('');
}

function publisherNames(pools: readonly MirrorStatus[]): string[] {
  return [...new Set(pools.flatMap(({ publishers }) => (publishers ?? []).map(({ name }) => name)))];
}

const lag = (changes: number | undefined): string =>
  changes === undefined ? UNKNOWN : changes === 0 ? 'delivered' : `${grouped(changes)} changes behind`;

const number = (value: number | null): string => (value === null ? UNKNOWN : grouped(value));

/** `2026-11-23 17:36:07Z` */
const moment = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 19)}Z`;

function walked({ seconds, pages, users, complete }: NonNullable<MirrorStatus['lastScan']>): string {
  const parts = [
    seconds === null ? null : spoken(seconds),
    pages === null ? null : `${grouped(pages)} pages`,
    users === null ? null : `${grouped(users)} users`,
    complete ? null : 'incomplete',
  ];
  return parts.filter((part) => part !== null).join(', ');
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}

function warned(warning: string, columns: number, paint: Paint): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of warning.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns - 2) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((text, i) => `${i === 0 ? paint('yellow', '!') : ' '} ${text}\n`);
}
