/** The named points at which a process dies, each as what can be heard at its doors just then. */
import type { Ears } from './doors.ts';

const isAdvance = (args: readonly string[]): boolean => args[2]?.endsWith(':snapshot') === true && args.length === 9;
const isLoad = (args: readonly string[]): boolean => /:g:[0-9a-f]{8}$/.test(args[2] ?? '') && args[1] === '1';
const isPoint = (args: readonly string[]): boolean =>
  args[2]?.endsWith(':snapshot') === true && args.includes('generation');
const isNote = (args: readonly string[]): boolean =>
  /:scan:[^:]+$/.test(args[2] ?? '') && args.some((arg) => arg.startsWith('{"token"'));
const isMarks = (arg: string): boolean => arg.endsWith(':seen:1');
const isScript = (name: string): boolean => /^eval(sha)?$/i.test(name);

/** @param die kills this process, at the hit that the test asks for */
type Point = (die: () => void) => Ears;

export const POINTS = {
  'poller: the job is added': (die) => ({
    added: (queue, job) => void (queue === 'changes' && job === 'batch' && die()),
  }),
  'poller: the batch is queued, its token not noted': (die) => ({
    redis: (when, name, args) => void (when === 'before' && isScript(name) && isNote(args) && die()),
  }),
  'poller: the proof is there, the delete not queued': (die) => ({
    asked: (operation, outcome) =>
      void (operation === 'AdminGetUserCommand' && outcome === 'UserNotFoundException' && die()),
  }),
  'poller: a scan is due, not recorded': (die) => ({
    redis: (when, _name, args) =>
      void (
        when === 'before' &&
        args.some((arg) => arg.endsWith(':scan')) &&
        args.some((arg) => arg.startsWith('{"id"')) &&
        die()
      ),
  }),
  'poller: the scan is recorded, its job not added': (die) => ({
    redis: (when, _name, args) =>
      void (
        when === 'after' &&
        args.some((arg) => arg.endsWith(':scan')) &&
        args.some((arg) => arg.startsWith('{"id"')) &&
        die()
      ),
  }),
  'poller: the shards are added, the step not noted': (die) => ({
    added: (queue) => void (queue === 'shards' && die()),
  }),
  'poller: it looks who is missing': (die) => ({
    // Reading marks names one group; noting them, many, and what is in them.
    redis: (when, _name, args) => void (when === 'before' && args.length <= 4 && args.some(isMarks) && die()),
  }),
  'poller: the keepalive is asked for, the step not noted': (die) => ({
    added: (queue, job) => void (queue === 'changes' && job === 'keepalive' && die()),
  }),
  'writer: the COPY is done': (die) => ({
    sql: (when, text, _kind, staged) =>
      void (when === 'before' && staged && text.startsWith('set local lock_timeout') && die()),
  }),
  'writer: before COMMIT': (die) => ({
    sql: (when, text, kind) => void (when === 'before' && text === 'commit' && kind === 'batch' && die()),
  }),
  'writer: COMMIT is sent, its answer not there': (die) => ({
    sql: (when, text, kind) => void (when === 'sent' && text === 'commit' && kind === 'batch' && die()),
  }),
  'writer: committed, the snapshot not advanced': (die) => ({
    redis: (when, name, args) => void (when === 'before' && isScript(name) && isAdvance(args) && die()),
  }),
  'writer: the snapshot is advanced, the job not acknowledged': (die) => ({
    redis: (when, name, args) => void (when === 'after' && isScript(name) && isAdvance(args) && die()),
  }),
  'writer: the keepalive is committed, not acknowledged': (die) => ({
    sql: (when, text, kind) => void (when === 'after' && text === 'commit' && kind === 'keepalive' && die()),
  }),
  'resync: a new timeline has begun': (die) => ({
    sql: (when, text, kind) => void (when === 'after' && text === 'commit' && kind === 'timeline' && die()),
  }),
  'resync: the snapshot is being loaded': (die) => ({
    redis: (when, name, args) => void (when === 'after' && isScript(name) && isLoad(args) && die()),
  }),
  'resync: the pointer is about to be written': (die) => ({
    redis: (when, name, args) => void (when === 'before' && isScript(name) && isPoint(args) && die()),
  }),
  'resync: the pointer is written, the switch not committed': (die) => ({
    sql: (when, text, kind) => void (when === 'before' && text === 'commit' && kind === 'resynced' && die()),
  }),
  'resync: the switch is committed, old generations not collected': (die) => ({
    sql: (when, text, kind) => void (when === 'after' && text === 'commit' && kind === 'resynced' && die()),
  }),
} as const satisfies Record<string, Point>;

export type CrashPoint = keyof typeof POINTS;
