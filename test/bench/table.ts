/** The figures as Markdown tables, for the terminal and the README. */
import type { ApplyFigures } from './apply-bench.ts';
import type { DeliveryFigures } from './delivery-bench.ts';
import type { Against, SizeFigures } from './feed-bench.ts';

export interface Figures {
  readonly machine: {
    readonly cpus: number;
    readonly model: string;
    readonly memoryGb: number;
    readonly node: string;
    readonly platform: string;
  };
  readonly runs: number;
  readonly sizes: readonly SizeFigures[];
  readonly apply: ApplyFigures | null;
  readonly deliveries: DeliveryFigures | null;
}

const round = (value: number, digits = 1): string =>
  value.toLocaleString('en-US', { maximumFractionDigits: digits, minimumFractionDigits: digits });
const whole = (value: number): string => round(value, 0);

export function printTable({ machine, runs, sizes, apply, deliveries }: Figures): string {
  const lines = [
    `${machine.cpus} × ${machine.model}, ${machine.memoryGb} GB, Node ${machine.node}, ${machine.platform}; medians of ${runs} runs`,
    '',
  ];
  lines.push(
    '| users | what | seconds | users/s | SDK alone, seconds | × floor | CPU s | × floor |',
    '| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |',
  );
  const row = (users: number, what: string, a: Against) =>
    lines.push(
      `| ${whole(users)} | ${what} | ${round(a.seconds)} | ${whole(a.usersPerSecond)} | ${round(a.floorSeconds)} | ${round(a.ratio, 2)} | ${round(a.cpuSeconds)} | ${round(a.cpuRatio, 2)} |`,
    );
  for (const size of sizes) {
    row(size.users, 'initial copy', size.initialCopy);
    row(size.users, 'scan, nothing new', size.unchangedScan);
    row(size.users, `scan, ${whole(size.churnScan.changes)} changes`, size.churnScan);
  }
  lines.push('', '| users | poller, peak MB | writer, peak MB | Redis bytes a user |', '| ---: | ---: | ---: | ---: |');
  for (const { users, memoryMb, redisBytesPerUser } of sizes) {
    lines.push(
      `| ${whole(users)} | ${whole(memoryMb.poller)} | ${whole(memoryMb.writer)} | ${round(redisBytesPerUser)} |`,
    );
  }
  if (apply !== null) {
    lines.push('', `psql \\copy of ${whole(apply.users)} rows: ${whole(apply.psqlCopy)} rows/s`, '');
    lines.push(
      '| rows a batch | inserts/s | × psql | updates/s | × psql | inserts/s with change log | × psql |',
      '| ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    );
    for (const { rows, inserts, updates, insertsLogged } of apply.batches) {
      const cell = (rate: number) => `${whole(rate)} | ${round(rate / apply.psqlCopy, 2)}`;
      lines.push(`| ${whole(rows)} | ${cell(inserts)} | ${cell(updates)} | ${cell(insertsLogged)} |`);
    }
  }
  if (deliveries !== null) {
    const { webhook, barePosts } = deliveries;
    lines.push(
      '',
      `${whole(deliveries.deliveries)} changes to one webhook: ${whole(webhook)} deliveries/s, ${round(webhook / barePosts, 2)} of bare POSTs (${whole(barePosts)}/s)`,
    );
  }
  return `${lines.join('\n')}\n`;
}
