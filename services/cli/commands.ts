/** Every command there is, in the order `--help` lists them. */
import { type Lsn, parseLsn } from '../../shared/lsn.ts';
import { BadUsage, type CommandSpec } from './command.ts';

const SOURCE = { pool: true, redis: true } as const;
/** Reads the pool itself, and writes the mirror. */
const BOTH = { ...SOURCE, database: true, keys: true } as const;

function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new BadUsage(`it must be a whole number from ${least} to ${most}`);
  };
}

function lsn(text: string): Lsn {
  try {
    return parseLsn(text);
  } catch {
    throw new BadUsage('it must be an LSN: a whole number from 0');
  }
}

/** An option that may be given again and again. */
const oneMore = (text: string, previous: unknown): string[] => [...(Array.isArray(previous) ? previous : []), text];

export const COMMANDS: readonly CommandSpec[] = [
  {
    name: 'demo',
    description: 'Mirror an emulated pool on servers of its own, and watch changes arrive (from a checkout)',
    options: [
      { flags: '--users <n>', description: 'users in the pool (default: 10000)', parse: wholeNumber(1, 10_000_000) },
      { flags: '--once', description: 'make some changes, compare row by row, sum up, end' },
    ],
    needs: {},
    load: async () => (await import('./commands/demo.ts')).demo,
  },
  {
    name: 'migrate',
    description: 'Create or upgrade the database objects; safe to run by many at once',
    options: [
      { flags: '--roles', description: 'also make the roles cognito_feed_writer, _reader and _publisher' },
      {
        flags: '--replace-foreign-table',
        description: 'fill the mirror beside the Wrappers foreign table of that name, then put it in its place',
        needs: BOTH,
      },
      { flags: '--restore-foreign-table', description: 'put that foreign table back, and the mirror aside' },
    ],
    needs: { database: true },
    load: async () => (await import('./commands/migrate.ts')).migrate,
  },
  {
    name: 'sync',
    description: 'Scan once, now, and apply what it finds; exit 3 if deletes are held',
    needs: BOTH,
    load: async () => (await import('./commands/sync.ts')).sync,
  },
  {
    name: 'run',
    description: 'Poller, writer and, where a target is set, publisher in one process',
    needs: { ...BOTH, delivers: true },
    serves: true,
    load: async () => (await import('./commands/run.ts')).run,
  },
  {
    name: 'poller',
    description: 'Read the pool and queue its changes',
    needs: { ...SOURCE, keys: true },
    serves: true,
    load: async () => (await import('./commands/poller.ts')).poller,
  },
  {
    name: 'writer',
    description: 'Apply queued changes to the mirror',
    needs: { ...SOURCE, database: true },
    serves: true,
    load: async () => (await import('./commands/writer.ts')).writer,
  },
  {
    name: 'publisher',
    description: 'Deliver changes to EventBridge and webhooks',
    needs: { pool: true, database: true, changeLog: true, target: true },
    serves: true,
    load: async () => (await import('./commands/publisher.ts')).publisher,
  },
  {
    name: 'tail',
    description: 'The change log as JSON lines',
    options: [
      {
        flags: '--after <lsn>',
        description:
          'what follows this LSN (default: all that CHANGE_RETENTION keeps; with --follow: what comes from now on). Exit 1 where changes after it have left the log, or the feed ends before it',
        parse: lsn,
      },
      { flags: '--follow', description: 'go on with what comes, until a signal' },
    ],
    needs: { pool: true, database: true, changeLog: true },
    load: async () => (await import('./commands/tail.ts')).tail,
  },
  {
    name: 'webhooks list',
    description: 'The dead letters: deliveries that were given up, of webhooks and EventBridge',
    options: [{ flags: '--json', description: 'as JSON lines' }],
    needs: { database: true },
    load: async () => (await import('./commands/webhooks.ts')).webhooksList,
  },
  {
    name: 'webhooks redeliver',
    description: 'Have dead letters delivered again, by the publisher that runs or the next one to run',
    args: '<id...>',
    needs: { database: true },
    load: async () => (await import('./commands/webhooks.ts')).webhooksRedeliver,
  },
  {
    name: 'refresh',
    description: 'Re-read these users now and wait until the answer is applied',
    options: [
      { flags: '--username <username>', description: 'a user by username; may be given again', parse: oneMore },
      { flags: '--sub <sub>', description: 'a user by sub; may be given again', parse: oneMore },
    ],
    needs: BOTH,
    load: async () => (await import('./commands/refresh.ts')).refresh,
  },
  {
    name: 'status',
    description: 'How fresh the mirror is, and what is held or rejected',
    options: [{ flags: '--json', description: 'as one JSON document' }],
    needs: { database: true },
    load: async () => (await import('./commands/status.ts')).status,
  },
  {
    name: 'verify',
    description: 'Compare pool, snapshot and mirror, user by user; exit 4 if they differ',
    options: [
      { flags: '--json', description: 'as one JSON document' },
      { flags: '--repair', description: 'put right what differs, by a resync and a scan, and compare again' },
    ],
    needs: BOTH,
    load: async () => (await import('./commands/verify.ts')).verify,
  },
  {
    name: 'deletes list',
    description: 'The deletes that are held, and why',
    needs: { pool: true, database: true },
    load: async () => (await import('./commands/deletes-list.ts')).deletesList,
  },
  {
    name: 'deletes release',
    description: 'Prove each held delete again, whatever the guard says, and delete those who are gone',
    needs: BOTH,
    load: async () => (await import('./commands/deletes-release.ts')).deletesRelease,
  },
  {
    name: 'resync',
    description: 'Begin a new timeline now: the snapshot is built anew from the mirror',
    needs: { ...SOURCE, database: true },
    load: async () => (await import('./commands/resync.ts')).resync,
  },
  {
    name: 'eventbridge plan',
    description:
      'Print the rule that brings CloudTrail events of the pool into SQS_QUEUE_URL, its target and the queue policy',
    needs: { pool: true, eventQueue: true },
    load: async () => (await import('./commands/eventbridge.ts')).eventbridgePlan,
  },
  {
    name: 'eventbridge apply',
    description: 'Make them, or make them what they should be; safe to repeat',
    needs: { pool: true, eventQueue: true },
    load: async () => (await import('./commands/eventbridge.ts')).eventbridgeApply,
  },
  {
    name: 'eventbridge destroy',
    description: 'Remove them again, and nothing else',
    needs: { pool: true, eventQueue: true },
    load: async () => (await import('./commands/eventbridge.ts')).eventbridgeDestroy,
  },
];
