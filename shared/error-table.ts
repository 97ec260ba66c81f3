/**
 * The error table: for each kind of error what the service does and what the operator should do. By AWS error name, SQLSTATE or
 * its class, Redis reply code, network code or error name; never by a message's text, but for `texts`, each with its reason. Data.
 */
import { AWS } from './errors-aws.ts';
import { NETWORK } from './errors-network.ts';
import { POSTGRES } from './errors-postgres.ts';
import { REDIS } from './errors-redis.ts';

/**
 * - `retry`: wait and try the same again, for as long as it takes; a one-shot command exits 1.
 * - `park`: this row, message or delivery is put aside with the reason, the rest goes on.
 * - `fatal`: waiting does not help. A one-shot command exits 1; a service leaves this pool alone and says so in `/readyz`.
 */
export type Action = 'retry' | 'park' | 'fatal';
export type Door = 'aws' | 'postgres' | 'redis' | 'network' | 'queue' | 'service';

export interface ErrorKind {
  readonly kind: string;
  readonly door: Door;
  readonly action: Action;
  /** What happened, in a few words that hold no value. */
  readonly what: string;
  /** What the operator should do. */
  readonly advice: string;
  /** `error.name` */
  readonly names?: readonly string[];
  /** Five characters are one SQLSTATE, two its class; the longer one wins. */
  readonly sqlstates?: readonly string[];
  /** The first word of an error that Redis replies: by its protocol the error's code, not its text. */
  readonly replies?: readonly string[];
  /** `error.code` of Node, and BullMQ's numbers. */
  readonly codes?: readonly (string | number)[];
  /** Whole messages of errors that carry nothing else. */
  readonly texts?: readonly string[];
}

const SERVICE: readonly ErrorKind[] = [
  {
    kind: 'message-unreadable',
    door: 'queue',
    action: 'park',
    what: 'a message of the queue is not what this version reads',
    advice: 'let all parts of the deployment have one version; the scan finds again what the message held',
    names: ['ZodError', '$ZodError', 'UnrecoverableError'],
  },
  {
    kind: 'job-taken',
    door: 'queue',
    action: 'retry',
    what: 'a job was taken over by another replica, or is gone',
    advice: 'none; if it is frequent, the process is starved of CPU',
    codes: [-1, -2, -3, -4, -5, -6, -7, -8, -9],
    // queue.ts gives BullMQ's nameless error this name.
    names: ['LockLost'],
  },
  {
    kind: 'interrupted',
    door: 'service',
    action: 'retry',
    what: 'a request was given up because the service stops or its connection closed',
    advice: 'none',
    names: ['AbortError'],
    codes: ['ABORT_ERR'],
  },
  {
    kind: 'disk',
    door: 'service',
    action: 'fatal',
    what: 'a file cannot be read or written',
    advice: 'check that the file exists and that this user may use it',
    codes: ['ENOENT', 'EACCES', 'EPERM', 'EISDIR', 'ENOTDIR', 'ENOSPC', 'EROFS', 'EMFILE'],
  },
  {
    kind: 'settings',
    door: 'service',
    action: 'fatal',
    what: 'the settings are wrong',
    advice: 'set what the message names',
    names: ['SettingsError'],
  },
  {
    kind: 'refused',
    door: 'service',
    action: 'fatal',
    what: 'cognito-feed refuses to go on',
    advice: 'do what the message says',
    names: ['UserFacingError'],
  },
];

/** What stands in no other row. */
export const UNKNOWN: ErrorKind = {
  kind: 'unknown',
  door: 'service',
  action: 'retry',
  what: 'an error that cognito-feed does not know',
  advice: 'report it with the log at LOG_LEVEL=debug, which holds no values',
};

export const ERROR_TABLE: readonly ErrorKind[] = [...AWS, ...POSTGRES, ...REDIS, ...NETWORK, ...SERVICE, UNKNOWN];
