import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ERROR_TABLE } from './error-table.ts';
import { classify, errorTableMarkdown, oneLine, safeError, UserFacingError } from './errors.ts';
import { SettingsError } from './settings.ts';

const error = (fields: object, message = 'CANARY'): Error => Object.assign(new Error(message), fields);
const named = (name: string, fields: object = {}): Error => error({ name, ...fields });
const sqlstate = (code: string, fields: object = {}): Error =>
  error({ name: 'error', severity: 'ERROR', code, ...fields });
const reply = (word: string): Error =>
  error({ name: 'ReplyError', command: { name: 'evalsha', args: ['CANARY'] } }, `${word} CANARY`);
const node = (code: string | number, fields: object = {}): Error => error({ code, ...fields });

describe('the error table', () => {
  it('reaches every row by everything that the row is known by', () => {
    for (const row of ERROR_TABLE) {
      const examples = [
        ...(row.sqlstates ?? []).map((code) => sqlstate(code.length === 2 ? `${code}ZZZ` : code)),
        ...(row.names ?? []).map((name) => named(name)),
        ...(row.replies ?? []).map(reply),
        ...(row.codes ?? []).map((code) => node(code)),
        ...(row.texts ?? []).map((text) => new Error(text)),
      ];
      const own = {
        'postgres-other': [sqlstate('XX000')],
        'aws-other': [named('NewException', { $metadata: { httpStatusCode: 400 } })],
        unknown: [new Error('x')],
      };
      const all = [...examples, ...((own as Record<string, Error[]>)[row.kind] ?? [])];
      expect(all.length, row.kind).toBeGreaterThan(0);
      for (const example of all)
        expect({ ...classify(example), code: null, subject: '' }).toMatchObject({ kind: row.kind, action: row.action });
    }
  });

  it('says each thing once', () => {
    const keys = ERROR_TABLE.flatMap(({ names = [], sqlstates = [], replies = [], codes = [], texts = [] }) => [
      ...[...names, ...codes, ...texts].map(String),
      ...sqlstates.map((it) => `SQLSTATE ${it}`),
      ...replies.map((it) => `reply ${it}`),
    ]);
    expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([]);
    const kinds = ERROR_TABLE.map((row) => row.kind);
    expect(new Set(kinds).size).toBe(kinds.length);
  });

  it('is a page of the manual', () => {
    const lines = errorTableMarkdown().trimEnd().split('\n');
    expect(lines).toHaveLength(ERROR_TABLE.length + 2);
    for (const line of lines) expect(line.match(/(?<!\\)\|/g)).toHaveLength(6);
  });
});

describe('a refusal by Postgres', () => {
  it.each([
    ...['22P02', '22P05', '22021', '23514', '23502', '23503', '44000', '54000', 'P0001', '21000', '42804'].map(
      (code) => [code, 'park'] as const,
    ),
    ...['23505', '40001', '40P01', '53100', '53300', '54023', '55P03', '57014', '57P01', '57P03', '08006'].map(
      (code) => [code, 'retry'] as const,
    ),
    ...['28P01', '28000', '3D000', '42501', '42P01', '3F000', '25006', '26000', '0A000'].map(
      (code) => [code, 'retry'] as const,
    ),
  ])('%s: %s', (code, action) => {
    expect(classify(sqlstate(code))).toMatchObject({ action, door: 'postgres', code });
  });

  it('in a function of a trigger is the row, not the database', () => {
    expect(classify(sqlstate('42P01', { where: 'PL/pgSQL function audit() line 3' }))).toMatchObject({
      kind: 'postgres-trigger',
      action: 'park',
    });
    expect(classify(sqlstate('42501', { where: 'PL/pgSQL function audit() line 3' }))).toMatchObject({
      action: 'park',
    });
    expect(classify(sqlstate('40001', { where: 'PL/pgSQL function audit() line 3' }))).toMatchObject({
      action: 'retry',
    });
  });

  it('is told with table and constraint, without a value', () => {
    const values = {
      detail: 'Key (email)=(CANARY) already exists.',
      where: 'CANARY',
      hint: 'CANARY',
      internalQuery: 'CANARY',
      parameters: ['CANARY'],
    };
    const refused = sqlstate('23514', { schema: 'cognito', table: 'users', constraint: 'adult', ...values });
    expect(oneLine(refused)).toMatch(
      /^a constraint of the mirror refuses a row \(23514, table cognito\.users, constraint adult\); /,
    );
    expect(JSON.stringify([oneLine(refused), safeError(refused, true)])).not.toContain('CANARY');
  });
});

describe('classify', () => {
  it('takes EPIPE for what it is, not for a SQLSTATE', () => {
    expect(classify(node('EPIPE')).kind).toBe('network-broken');
  });

  it('reads the first word of a Redis reply only from Redis', () => {
    expect(classify(new Error('OOM command not allowed')).kind).toBe('unknown');
    expect(classify(reply('OOM'))).toMatchObject({ kind: 'redis-memory', subject: 'evalsha' });
    expect(classify(reply('SOMETHINGNEW')).kind).toBe('redis-other');
  });

  it('looks into causes and the first of several attempts', () => {
    const refused = node('ECONNREFUSED', { syscall: 'connect', address: '127.0.0.1', port: 5432 });
    expect(classify(new Error('CANARY', { cause: refused }))).toMatchObject({
      kind: 'network-refused',
      subject: '127.0.0.1:5432',
    });
    expect(classify(Object.assign(new AggregateError([refused]), { code: 'ECONNREFUSED' })).subject).toBe(
      '127.0.0.1:5432',
    );
    expect(classify(new AggregateError([refused])).kind).toBe('network-refused');
    expect(classify(named('ClusterAllFailedError', { lastNodeError: reply('WRONGPASS') })).kind).toBe('redis-login');
  });

  it('ends on a cause that is its own cause', () => {
    const loop = new Error('CANARY');
    loop.cause = loop;
    expect(classify(loop).kind).toBe('unknown');
    expect(JSON.stringify(safeError(loop, true))).not.toContain('CANARY');
  });

  it('tells a missing socket from a missing file', () => {
    expect(classify(node('ENOENT', { syscall: 'connect' })).kind).toBe('network-refused');
    expect(classify(node('ENOENT', { syscall: 'open' })).kind).toBe('disk');
  });

  it.each([
    ['a 500 without a known name', { httpStatusCode: 503 }, 'aws-unavailable'],
    ['a 429 without a known name', { httpStatusCode: 429 }, 'aws-throttled'],
    ['a 400 without a known name', { httpStatusCode: 400 }, 'aws-other'],
  ])('knows %s', (_, $metadata, kind) => {
    expect(classify(named('SomethingNew', { $metadata })).kind).toBe(kind);
  });

  it.each([undefined, null, 'CANARY', 42, {}, { message: 'CANARY' }, { name: 'CANARY with blanks' }])(
    'survives %j',
    (thrown) => {
      expect(classify(thrown).kind).toBe('unknown');
      expect(JSON.stringify([oneLine(thrown), safeError(thrown, true)])).not.toContain('CANARY');
    },
  );
});

describe('what is told', () => {
  it('is our own words where they are ours', () => {
    expect(oneLine(new UserFacingError('127.0.0.1:9464 is taken'))).toBe('127.0.0.1:9464 is taken');
    expect(oneLine(new SettingsError(['POLL_INTERVAL is bad']))).toBe('Bad settings: POLL_INTERVAL is bad');
    expect(new UserFacingError('x').exitCode).toBe(1);
  });

  it('names class and place of an unknown error, not its message', () => {
    const line = oneLine(new TypeError('CANARY'));
    expect(line).toMatch(/TypeError at errors\.test\.ts:\d+; report it/);
    expect(line).not.toContain('CANARY');
  });

  it('holds no value of a job, a validation or a JSON text', () => {
    const invalid = z.object({ email: z.literal('a') }).safeParse({ email: 'CANARY' }).error;
    let syntax: unknown;
    try {
      JSON.parse('CANARY');
    } catch (caught) {
      syntax = caught;
    }
    const text = JSON.stringify([invalid, syntax].flatMap((it) => [oneLine(it), safeError(it, true)]));
    expect(text).not.toContain('CANARY');
    expect(classify(invalid)).toMatchObject({ kind: 'message-unreadable', action: 'park' });
  });

  it('has a stack of places only, even where a message looks like one', () => {
    const { stack = '' } = safeError(new Error('x\n    at CANARY:1:1\n    at y'), true);
    expect(stack).toContain('errors.test.ts');
    expect(stack).not.toContain('CANARY');
    expect(safeError(new Error('x'), false).stack).toBeUndefined();
  });
});
