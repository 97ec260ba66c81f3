import { describe, expect, it } from 'vitest';
import { BLANK, createLog, type LogOptions, maskUrls } from './log.ts';

const CANARY = 'canary-4711@example.com';
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

function record(options: LogOptions = {}) {
  const lines: string[] = [];
  const log = createLog({
    logLevel: 'trace',
    logFormat: 'json',
    ...options,
    to: { write: (line) => void lines.push(line) },
  });
  return { log, lines, parsed: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

/** As Postgres answers: with the value in everything that can hold one. */
function refusal(): Error {
  const error = new Error(`duplicate key value violates unique constraint "users_email_key": ${CANARY}`);
  const values = {
    detail: `Key (email)=(${CANARY}) already exists.`,
    where: `COPY staging, line 1: "${CANARY}"`,
    internalQuery: `select '${CANARY}'`,
  };
  const fields = {
    name: 'error',
    severity: 'ERROR',
    code: '22P02',
    table: 'users',
    hint: CANARY,
    parameters: [CANARY],
    query: CANARY,
  };
  return Object.assign(error, fields, values);
}

describe('the log', () => {
  it.each(['json', 'pretty'] as const)('holds no value of a refused row, at any level, as %s', (logFormat) => {
    const { log, lines } = record({ logFormat, terminal: false });
    for (const level of LEVELS) {
      log[level](refusal());
      log[level](refusal(), 'applying failed');
      log[level]({ err: refusal(), lsn: 7 });
      log[level]({ error: refusal(), errors: [refusal()] }, 'applying failed');
      log[level]('applying failed: %s', refusal());
      log[level]({ err: new Error(CANARY, { cause: refusal() }) }, 'wrapped');
      log[level]({ err: new AggregateError([refusal()], CANARY) });
      log.child({ err: refusal() })[level]('child');
      log[level](
        {
          row: { email: CANARY },
          old: CANARY,
          change: { attributes: [{ email: CANARY }] },
          job: { data: { rows: [CANARY] } },
        },
        'by mistake',
      );
    }
    expect(lines).toHaveLength(LEVELS.length * 9);
    expect(lines.join('')).not.toContain('canary-4711');
    expect(lines.join('')).toContain('22P02');
  });

  it('says what an error is and what to do', () => {
    const { log, parsed } = record({ logLevel: 'info' });
    log.error({ err: refusal(), pool: 'p' }, 'applying failed');
    const [line] = parsed();
    expect(line).toMatchObject({ level: 'error', pool: 'p', msg: 'applying failed' });
    expect(line?.['err']).toEqual({
      type: 'error',
      kind: 'postgres-value',
      action: 'park',
      code: '22P02',
      message: 'Postgres refuses a value',
      subject: 'table users',
    });
  });

  it('has places of calls only at debug', () => {
    const quiet = record({ logLevel: 'info' });
    quiet.log.error(new Error('x'));
    expect(quiet.parsed()[0]?.['err']).not.toHaveProperty('stack');
    const loud = record({ logLevel: 'debug' });
    loud.log.error({ err: new Error('x') }, 'y');
    expect(JSON.stringify(loud.parsed()[0]?.['err'])).toContain('log.test.ts:');
  });

  it('cuts known secrets and URL passwords out of the finished line, wherever they are', () => {
    const secrets = ['hunter22', 'quo"te\\d', 'hunter2244', 'abc'];
    const { log, lines } = record({ secrets });
    log.info({ a: { b: { c: { d: 'hunter2244 hunter22' } } } }, 'quo"te\\d at redis://user:other@host/0');
    log.child({ who: 'hunter22' }).info('abc stays: it is too short to be cut');
    expect(lines.join('')).not.toMatch(/hunter22|quo|other/);
    expect(lines.join('')).toContain('redis://user:***@host/0');
    expect(lines[1]).toContain('abc stays');
    for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
  });

  it('blanks what may be a value, and leaves counts alone', () => {
    const { log, parsed } = record();
    log.info({ rows: 500, row: [1], email: CANARY, token: 'x', body: { a: 1 } });
    expect(parsed()[0]).toMatchObject({ rows: 500, row: BLANK, email: BLANK, token: BLANK, body: BLANK });
  });

  it('has a time, a level by name, and neither pid nor host', () => {
    const { log, parsed } = record();
    log.warn('x');
    expect(Object.keys(parsed()[0] ?? {})).toEqual(['level', 'time', 'msg']);
    expect(parsed()[0]).toMatchObject({ level: 'warn', time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) });
  });

  it('is pretty on a terminal, JSON elsewhere, and what it is told to be', () => {
    const isJson = (options: LogOptions): boolean => {
      const { log, lines } = record(options);
      log.info('x');
      return lines[0]?.startsWith('{') ?? false;
    };
    expect(isJson({ logFormat: null, terminal: true })).toBe(false);
    expect(isJson({ logFormat: null, terminal: false })).toBe(true);
    expect(isJson({ logFormat: 'json', terminal: true })).toBe(true);
    expect(isJson({ logFormat: 'pretty', terminal: false })).toBe(false);
  });
});

describe('maskUrls', () => {
  it.each([
    ['redis://:pw@h', 'redis://:***@h'],
    ['postgres://u:p:w@h/d', 'postgres://u:***@h/d'],
    ['redis://:p/w@h', 'redis://:***@h'],
    ['redis+cluster://u:pw@a:1,b:2', 'redis+cluster://u:***@a:1,b:2'],
    ['see https://example.com:8080/a@b', 'see https://example.com:8080/a@b'],
    ['http://h:1/ and user@host', 'http://h:1/ and user@host'],
  ])('%s', (text, masked) => {
    expect(maskUrls(text)).toBe(masked);
  });
});
