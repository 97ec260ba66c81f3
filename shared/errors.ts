/**
 * What an error means, by the error table; and how it is told to people and logs without a value of a user's, which the messages
 * of Postgres, AWS and Redis may hold.
 */
import { type Action, type Door, ERROR_TABLE, type ErrorKind, UNKNOWN } from './error-table.ts';

export type { Action };

/** A failure of our own whose message is clear, complete, and holds no value. Ends a command with this exit code. */
export class UserFacingError extends Error {
  override readonly name = 'UserFacingError';
  readonly exitCode: number;
  constructor(message: string, exitCode = 1, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

export interface Classified {
  readonly kind: string;
  readonly door: Door;
  readonly action: Action;
  /** What happened, without values. */
  readonly what: string;
  readonly advice: string;
  /** SQLSTATE, AWS name, Redis reply or network code; null where it has none. */
  readonly code: string | null;
  /** To what: host and port, table, constraint, operation; '' where that is unknown. */
  readonly subject: string;
}

const bySqlstate = new Map<string, ErrorKind>();
const byReply = new Map<string, ErrorKind>();
const byCode = new Map<string | number, ErrorKind>();
const byName = new Map<string, ErrorKind>();
const byText = new Map<string, ErrorKind>();
const byKind = new Map<string, ErrorKind>();
for (const row of ERROR_TABLE) {
  byKind.set(row.kind, row);
  for (const key of row.sqlstates ?? []) bySqlstate.set(key, row);
  for (const key of row.replies ?? []) byReply.set(key, row);
  for (const key of row.codes ?? []) byCode.set(key, row);
  for (const key of row.names ?? []) byName.set(key, row);
  for (const key of row.texts ?? []) byText.set(key, row);
}

function rowOfKind(kind: string): ErrorKind {
  const row = byKind.get(kind);
  if (row === undefined) throw new Error(`the error table has no ${kind}`);
  return row;
}

/** What any error may carry; nothing of it is certain. */
interface Carried {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly code?: unknown;
  readonly cause?: unknown;
  readonly errors?: unknown;
  readonly lastNodeError?: unknown;
  readonly severity?: unknown;
  readonly where?: unknown;
  readonly schema?: unknown;
  readonly table?: unknown;
  readonly column?: unknown;
  readonly constraint?: unknown;
  readonly syscall?: unknown;
  readonly address?: unknown;
  readonly port?: unknown;
  readonly hostname?: unknown;
  readonly host?: unknown;
  readonly path?: unknown;
  readonly command?: { readonly name?: unknown };
  readonly $metadata?: { readonly httpStatusCode?: unknown; readonly requestId?: unknown };
  readonly $service?: unknown;
}

const carried = (error: unknown): Carried => (typeof error === 'object' && error !== null ? (error as Carried) : {});
const textOf = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);

/** How far to follow causes: deeper than any library nests them. */
const DEEPEST_CAUSE = 5;

/** What this error is, and what is to be done about it. Never throws. */
export function classify(error: unknown): Classified {
  let current = carried(error);
  for (let depth = 0; depth < DEEPEST_CAUSE; depth++) {
    const found = direct(current);
    if (found !== null) return found;
    const [first] = Array.isArray(current.errors) ? current.errors : [];
    current = carried(current.cause ?? first);
  }
  return told(UNKNOWN, null, '');
}

/**
 * What happened, to what, and what to do, in one line without values or stack. Our own failures speak for themselves.
 */
export function oneLine(error: unknown): string {
  const own = ownMessage(error);
  if (own !== null) return own;
  const { kind, what, advice, code, subject } = classify(error);
  if (kind === UNKNOWN.kind) return `${what}: ${nameOf(error)}${whereThrown(error)}; ${advice}`;
  const detail = [code, subject].filter((part) => part !== null && part !== '').join(', ');
  return `${what}${detail === '' ? '' : ` (${detail})`}${advice === 'none' ? '' : `; ${advice}`}`;
}

/** An error as a log may hold it. */
export interface SafeError {
  readonly type: string;
  readonly kind: string;
  readonly action: Action;
  readonly code: string | null;
  readonly message: string;
  readonly subject?: string;
  /** AWS's id of the request, for its support. */
  readonly requestId?: string;
  /** Where it was thrown: file and line of each call, no message. */
  readonly stack?: string;
  readonly cause?: SafeError;
}

/**
 * @param withStack the places of the calls, too
 */
export function safeError(error: unknown, withStack: boolean, depth = 0): SafeError {
  const { kind, action, code, subject, what } = classify(error);
  const { cause, $metadata } = carried(error);
  const requestId = textOf($metadata?.requestId);
  const frames = withStack ? framesOf(error).join('\n') : '';
  return {
    type: nameOf(error),
    kind,
    action,
    code,
    message: ownMessage(error) ?? what,
    ...(subject === '' ? {} : { subject }),
    ...(requestId === null ? {} : { requestId }),
    ...(frames === '' ? {} : { stack: frames }),
    ...(cause === undefined || depth >= DEEPEST_CAUSE ? {} : { cause: safeError(cause, withStack, depth + 1) }),
  };
}

/** The table as the troubleshooting page shows it. */
export function errorTableMarkdown(): string {
  const rows = ERROR_TABLE.map((row) => {
    const { kind, action, what, advice, names = [], sqlstates = [], replies = [], codes = [] } = row;
    const seenAs = [
      ...sqlstates.map((it) => (it.length === 2 ? `${it}xxx` : it)),
      ...names,
      ...replies,
      ...codes.map(String),
    ];
    return `| ${kind} | ${seenAs.map((it) => `\`${it}\``).join(' ')} | ${action} | ${what} | ${advice} |`;
  });
  return [
    '| kind | seen as | action | what it means | what to do |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

function direct(error: Carried): Classified | null {
  return ofPostgres(error) ?? ofRedis(error) ?? ofNetwork(error) ?? ofName(error) ?? ofAws(error) ?? ofText(error);
}

/** A server's answer has a severity beside its SQLSTATE; Node's EPIPE has five capitals too. */
function ofPostgres(error: Carried): Classified | null {
  const { code } = error;
  if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code) || typeof error.severity !== 'string') return null;
  let row = bySqlstate.get(code) ?? bySqlstate.get(code.slice(0, 2)) ?? rowOfKind('postgres-other');
  // A missing table or privilege inside a function (it has a context) is the function's: a trigger's of the user's own.
  if ((row.kind === 'postgres-missing' || row.kind === 'postgres-privilege') && textOf(error.where) !== null)
    row = rowOfKind('postgres-trigger');
  const table = [error.schema, error.table].map(textOf).filter((it) => it !== null);
  const parts = [
    table.length > 0 ? `table ${table.join('.')}` : null,
    textOf(error.column) === null ? null : `column ${error.column}`,
    textOf(error.constraint) === null ? null : `constraint ${error.constraint}`,
  ];
  return told(row, code, parts.filter((part) => part !== null).join(', '));
}

function ofRedis(error: Carried): Classified | null {
  if (nameOf(error) !== 'ReplyError') return null;
  const reply = /^[A-Z]+(?=[\s:]|$)/.exec(textOf(error.message) ?? '')?.[0] ?? 'ERR';
  return told(byReply.get(reply) ?? rowOfKind('redis-other'), reply, textOf(error.command?.name) ?? '');
}

function ofNetwork(error: Carried): Classified | null {
  const { code } = error;
  if (typeof code !== 'string' && typeof code !== 'number') return null;
  // A socket file that is not there, or may not be used, is a server that does not answer.
  const row =
    error.syscall === 'connect' && (code === 'ENOENT' || code === 'EACCES')
      ? byCode.get('ECONNREFUSED')
      : byCode.get(code);
  if (row === undefined) return null;
  // Where a name has several addresses, each attempt has its own error.
  const [attempt] = Array.isArray(error.errors) ? error.errors : [];
  return told(row, String(code), addressOf(error) || addressOf(carried(attempt)));
}

function addressOf(error: Carried): string {
  const host = textOf(error.address) ?? textOf(error.hostname) ?? textOf(error.host) ?? textOf(error.path) ?? '';
  return typeof error.port === 'number' ? `${host}:${error.port}` : host;
}

function ofName(error: Carried): Classified | null {
  const name = nameOf(error);
  const row = byName.get(name);
  if (row === undefined) return null;
  // The last server's own answer says more than that none of them answered.
  const inner = error.lastNodeError === undefined ? null : direct(carried(error.lastNodeError));
  return inner ?? told(row, name, '');
}

/** An answer of AWS's that has no row of its own. */
function ofAws(error: Carried): Classified | null {
  const status = error.$metadata?.httpStatusCode;
  if (typeof status !== 'number') return null;
  return told(
    rowOfKind(status >= 500 ? 'aws-unavailable' : status === 429 ? 'aws-throttled' : 'aws-other'),
    nameOf(error),
    `HTTP ${status}`,
  );
}

function ofText(error: Carried): Classified | null {
  const row = byText.get(textOf(error.message) ?? '');
  return row === undefined ? null : told(row, null, '');
}

function told({ kind, door, action, what, advice }: ErrorKind, code: string | null, subject: string): Classified {
  return { kind, door, action, what, advice, code, subject };
}

/** An error's name is its class's, never a value; what is no such word is not repeated. */
function nameOf(error: unknown): string {
  const { name } = carried(error);
  return typeof name === 'string' && /^[$\w.]{1,80}$/.test(name) ? name : 'Error';
}

function ownMessage(error: unknown): string | null {
  const { name, message } = carried(error);
  return name === 'UserFacingError' || name === 'SettingsError' ? textOf(message) : null;
}

function framesOf(error: unknown): string[] {
  const { stack, message } = carried(error) as { stack?: unknown; message?: unknown };
  if (typeof stack !== 'string') return [];
  // The message comes first, and a value in it may look like a frame.
  const after = typeof message === 'string' && stack.includes(message) ? stack.indexOf(message) + message.length : 0;
  return stack
    .slice(after)
    .split('\n')
    .filter((line) => /^ {4}at .*(?::\d+:\d+|<anonymous>|native)\)?$/.test(line));
}

function whereThrown(error: unknown): string {
  const place = /([^/\\(\s]+:\d+):\d+\)?$/.exec(framesOf(error)[0] ?? '')?.[1];
  return place === undefined ? '' : ` at ${place}`;
}
