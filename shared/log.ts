/**
 * The log: one JSON line for each event on stderr, or one readable line on a terminal. No attribute values, no secrets, at no
 * level: errors enter only as `safeError` tells them, suspicious keys are blanked, known secrets are cut out of the finished line.
 */
import { createRequire } from 'node:module';
import { isatty } from 'node:tty';
import { type DestinationStream, destination, type Logger, type LoggerOptions, pino, stdTimeFunctions } from 'pino';
import { oneLine, safeError } from './errors.ts';
import type { Settings } from './settings.ts';

export type { Logger };

/** Keys that must not come near a log; if one does, its value is blanked. */
const BLANKED = [
  ...[
    'password',
    'secret',
    'token',
    'authorization',
    'databaseUrl',
    'redisUrl',
    'refreshToken',
    'webhookSecret',
    'connectionString',
  ],
  ...[
    'attributes',
    'Attributes',
    'UserAttributes',
    'email',
    'row',
    'rows',
    'old',
    'new',
    'record',
    'old_record',
    'payload',
    'body',
    'data',
  ],
];
export const BLANK = '[not logged]';

const STDERR = 2;

/** A number of rows is no row. */
const blank = (value: unknown): unknown => (typeof value === 'number' || typeof value === 'boolean' ? value : BLANK);

export interface LogOptions extends Partial<Pick<Settings, 'logLevel' | 'logFormat' | 'secrets'>> {
  /** Where finished lines go; stderr by default. */
  readonly to?: DestinationStream;
  /** Whether that is a terminal. */
  readonly terminal?: boolean;
}

/** Errors may be given by themselves, as `err`, or under any other key. Never a message built from an error's own text. */
export function createLog(options: LogOptions = {}): Logger {
  const { logLevel = 'info', logFormat = null, secrets = [], terminal = isatty(STDERR) } = options;
  const cut = cutter(secrets);
  const withStack = logLevel === 'debug' || logLevel === 'trace';
  // Synchronous: the last line before an exit is the one that matters.
  const to = options.to ?? destination({ fd: STDERR, sync: true });
  const pretty = (logFormat ?? (terminal ? 'pretty' : 'json')) === 'pretty';
  return pino(settingsOf(logLevel, withStack, cut), pretty ? prettyStream(to, terminal) : to);
}

function settingsOf(level: string, withStack: boolean, cut: (line: string) => string): LoggerOptions {
  return {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: (err: unknown) => (err instanceof Error ? safeError(err, withStack) : err) },
    redact: { paths: BLANKED.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]), censor: blank },
    hooks: {
      logMethod(args, method) {
        method.apply(this, safeArguments(args, withStack) as Parameters<typeof method>);
      },
      streamWrite: cut,
    },
  };
}

/** pino would take an error's message for the line's, and its own serializer copies every property. */
function safeArguments(args: readonly unknown[], withStack: boolean): unknown[] {
  const [first, ...rest] = args;
  const texts = rest.map((it) => (it instanceof Error ? oneLine(it) : it));
  if (first instanceof Error)
    return [{ err: safeError(first, withStack) }, ...(texts.length > 0 ? texts : [oneLine(first)])];
  if (typeof first !== 'object' || first === null) return [first, ...texts];
  const bindings = safeBindings(first as Record<string, unknown>, withStack);
  const { err } = first as { err?: unknown };
  return [bindings, ...(texts.length === 0 && err !== undefined ? [oneLine(err)] : texts)];
}

function safeBindings(bindings: Record<string, unknown>, withStack: boolean): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(bindings).map(([key, value]) => {
      if (key === 'err' || value instanceof Error) return [key, safeError(value, withStack)];
      if (Array.isArray(value))
        return [key, value.map((it: unknown) => (it instanceof Error ? safeError(it, withStack) : it))];
      return [key, value];
    }),
  );
}

/** `redis://:password@host` in any text; a password may hold a slash, but `host:80/…` has none. */
export function maskUrls(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@"']*):(?!\d{1,5}\/)[^\s@"']*@/gi, '$1:***@');
}

/** Shorter ones would cut words out of innocent lines, and guard little. */
const SHORTEST_SECRET = 6;
/** Passwords of test servers that are words of ours: cutting them would garble every other line. */
const WORDS = new Set([
  'cognito',
  'cognito-feed',
  'cognito_feed',
  'default',
  'password',
  'postgres',
  'postgresql',
  'public',
  'secret',
  'valkey',
]);

function cutter(secrets: readonly string[]): (line: string) => string {
  const known = secrets
    .filter((secret) => secret.length >= SHORTEST_SECRET && !WORDS.has(secret))
    .map((secret) => JSON.stringify(secret).slice(1, -1))
    // A secret that holds another goes first.
    .toSorted((a, b) => b.length - a.length);
  return (line) => known.reduce((rest, secret) => rest.replaceAll(secret, '***'), maskUrls(line));
}

/** pino-pretty costs a start-up 40 ms, which only a terminal pays. As a function, not a stream: nothing is lost at an exit. */
function prettyStream(to: DestinationStream, colorize: boolean): DestinationStream {
  const require = createRequire(import.meta.url);
  const { prettyFactory } = require('pino-pretty') as typeof import('pino-pretty');
  const format = prettyFactory({ colorize, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss.l' });
  return { write: (line: string) => to.write(format(line) as string) };
}
