/**
 * Ears on the doors of a process: what it says to Postgres, Redis, the queues and Cognito, before it is said and after it was answered. Only the
 * entry file of the crash tests puts them there; the services know nothing of them.
 */
import { CognitoIdentityProviderClient } from '@aws-sdk/client-cognito-identity-provider';
import { Queue } from 'bullmq';
import { Redis as IORedis } from 'ioredis';
import pg from 'pg';

/** Which kind of transaction a statement belongs to, by what was said in it before. */
export type TransactionKind = 'none' | 'batch' | 'timeline' | 'resynced' | 'keepalive';

export interface Ears {
  /** `staged`: a COPY went before in this transaction. */
  sql?(when: 'before' | 'sent' | 'after', text: string, kind: TransactionKind, staged: boolean): void;
  redis?(when: 'before' | 'after', name: string, args: readonly string[]): void;
  added?(queue: string, job: string): void;
  asked?(operation: string, outcome: string): void;
}

interface Heard {
  kind: TransactionKind;
  staged: boolean;
}

const KINDS: readonly (readonly [RegExp, TransactionKind])[] = [
  [/set confirmed_lsn = \$2, previous_commit_id/, 'batch'],
  [/resync_reason = \$7/, 'timeline'],
  [/resync_reason = null/, 'resynced'],
  [/as_of = greatest/, 'keepalive'],
];

export function listen(ears: Ears): void {
  if (ears.sql !== undefined) hearPostgres(ears.sql);
  if (ears.redis !== undefined) hearRedis(ears.redis);
  if (ears.added !== undefined) hearQueues(ears.added);
  if (ears.asked !== undefined) hearCognito(ears.asked);
}

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

function wrap(prototype: object, name: string, around: (original: AnyFunction) => AnyFunction): void {
  const methods = prototype as Record<string, AnyFunction>;
  const original = methods[name];
  if (original === undefined) throw new TypeError(`no method ${name} to listen at`);
  methods[name] = around(original);
}

function textOf(query: unknown): string {
  if (typeof query === 'string') return query;
  const { text } = query as { text?: string };
  return text ?? '';
}

function hearPostgres(tell: NonNullable<Ears['sql']>): void {
  const heard = new WeakMap<object, Heard>();
  wrap(
    pg.Client.prototype,
    'query',
    (original) =>
      function query(...args) {
        const text = textOf(args[0]);
        const client = this as object;
        const known = heard.get(client) ?? { kind: 'none', staged: false };
        if (text.startsWith('begin')) Object.assign(known, { kind: 'none', staged: false } satisfies Heard);
        heard.set(client, known);
        tell('before', text, known.kind, known.staged);
        known.kind = KINDS.find(([pattern]) => pattern.test(text))?.[1] ?? known.kind;
        known.staged ||= text.startsWith('copy ');
        const result = original.apply(this, args);
        tell('sent', text, known.kind, known.staged);
        if (result instanceof Promise)
          return result.then((answer: unknown) => {
            tell('after', text, known.kind, known.staged);
            return answer;
          });
        return result;
      },
  );
}

function hearRedis(tell: NonNullable<Ears['redis']>): void {
  wrap(
    IORedis.prototype,
    'sendCommand',
    (original) =>
      function sendCommand(...given) {
        const { name, args } = given[0] as { name: string; args: unknown[] };
        const texts = args.map((arg) => (Buffer.isBuffer(arg) ? arg.toString('latin1') : String(arg)));
        tell('before', name, texts);
        const result = original.apply(this, given);
        if (result instanceof Promise)
          return result.then((answer: unknown) => {
            tell('after', name, texts);
            return answer;
          });
        return result;
      },
  );
}

function hearQueues(tell: NonNullable<Ears['added']>): void {
  wrap(
    Queue.prototype,
    'add',
    (original) =>
      async function add(...args) {
        const job = await original.apply(this, args);
        tell((this as Queue).name, String(args[0]));
        return job;
      },
  );
}

function hearCognito(tell: NonNullable<Ears['asked']>): void {
  wrap(
    CognitoIdentityProviderClient.prototype,
    'send',
    (original) =>
      async function send(...args) {
        const operation = (args[0] as object).constructor.name;
        try {
          const answer = await original.apply(this, args);
          tell(operation, 'ok');
          return answer;
        } catch (error) {
          tell(operation, error instanceof Error ? error.name : 'error');
          throw error;
        }
      },
  );
}
