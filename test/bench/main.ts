/**
 * `npm run bench -- [--users 10000,100000] [--runs 3] [--json]`: figures as ratios to floors that are measured in the same run, because the machine may
 * be shared and noisy. Medians of the runs.
 */
import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { startPostgres } from '../servers/postgres.ts';
import { benchApply } from './apply-bench.ts';
import { benchDeliveries } from './delivery-bench.ts';
import { benchSize } from './feed-bench.ts';
import { printTable } from './table.ts';

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '10000,100000,1000000' },
    runs: { type: 'string', default: '3' },
    apply: { type: 'string', default: '100000' },
    deliveries: { type: 'string', default: '20000' },
    json: { type: 'boolean', default: false },
  },
});

const say = (line: string) => process.stderr.write(`${line}\n`);

async function main(): Promise<void> {
  const runs = Number(values.runs);
  const postgres = await startPostgres({ major: 18, settings: { shared_buffers: '512MB', max_wal_size: '4GB' } });
  try {
    const sizes = [];
    for (const users of values.users.split(',').filter(Boolean).map(Number))
      sizes.push(await benchSize(users, runs, postgres, say));
    const apply = Number(values.apply) > 0 ? await benchApply(Number(values.apply), runs, postgres, say) : null;
    const deliveries =
      Number(values.deliveries) > 0 ? await benchDeliveries(Number(values.deliveries), runs, postgres, say) : null;
    const figures = {
      machine: {
        cpus: cpus().length,
        model: cpus()[0]?.model ?? '',
        memoryGb: Math.round(totalmem() / 1e9),
        node: process.version,
        platform: process.platform,
      },
      runs,
      sizes,
      apply,
      deliveries,
    };
    process.stdout.write(values.json ? `${JSON.stringify(figures)}\n` : printTable(figures));
  } finally {
    await postgres.stop();
  }
}

await main();
