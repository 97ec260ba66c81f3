import { describe, expect, it } from 'vitest';
import { type LoadOptions, loadSettings, type PoolSettings, SettingsError } from './settings.ts';
import { SETTINGS } from './settings-schema.ts';
import type { Env } from './settings-source.ts';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const ENOUGH: Env = {
  COGNITO_USER_POOL_ID: 'eu-west-1_Example',
  REDIS_URL: 'redis://localhost',
  DATABASE_URL: 'postgres://localhost/app',
};
const EVERYTHING = { pool: true, redis: true, database: true } as const;

const pool = (env: Env, options?: LoadOptions): PoolSettings => loadSettings(env, options).pools[0] as PoolSettings;

function problemsOf(env: Env, options?: LoadOptions): readonly string[] {
  try {
    loadSettings(env, options);
    return [];
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
}

describe('all problems at once', () => {
  it('names each in one message', () => {
    const env = {
      POLL_INTERVAL: '5',
      HTTP_PORT: 'x',
      TARGET_TABLE: 'users',
      MAX_QUEUED_CHANGES: '',
      REDIS_URL: 'http://u:hunter22@h',
    };
    const problems = problemsOf(env, { needs: EVERYTHING });
    const named = [
      'REDIS_URL',
      'HTTP_PORT',
      'TARGET_TABLE',
      'POLL_INTERVAL',
      'MAX_QUEUED_CHANGES',
      'COGNITO_USER_POOL_ID',
      'DATABASE_URL',
    ];
    expect(named.filter((name) => !problems.some((problem) => problem.startsWith(name)))).toEqual([]);
    const error = new SettingsError(problems);
    expect(error.exitCode).toBe(2);
    for (const problem of problems) expect(error.message).toContain(problem);
    expect(error.message).not.toContain('hunter22');
  });

  it('does not call a bad REDIS_URL missing, too', () => {
    expect(problemsOf({ ...ENOUGH, REDIS_URL: 'nonsense' }, { needs: EVERYTHING })).toHaveLength(1);
    expect(problemsOf({ ...ENOUGH, DATABASE_URL: 'nonsense' }, { needs: EVERYTHING })).toHaveLength(1);
  });
});

describe('what a command needs', () => {
  it.each([
    ['poller', { pool: true, redis: true }, ['COGNITO_USER_POOL_ID', 'REDIS_URL']],
    ['writer', EVERYTHING, ['COGNITO_USER_POOL_ID', 'REDIS_URL', 'DATABASE_URL']],
    ['migrate', { database: true }, ['DATABASE_URL']],
    [
      'publisher',
      { pool: true, database: true, changeLog: true, target: true },
      ['COGNITO_USER_POOL_ID', 'DATABASE_URL', 'EVENT_BUS_NAME'],
    ],
    ['demo', {}, []],
  ])('%s', (_, needs, names) => {
    const problems = problemsOf({}, { needs });
    expect(problems.map((problem) => problem.split(' ')[0]).toSorted()).toEqual(names.toSorted());
  });

  it('refuses readers of a change log that is not kept', () => {
    const env = { ...ENOUGH, CHANGE_RETENTION: '' };
    expect(problemsOf(env, { needs: { changeLog: true } })).toEqual([expect.stringContaining('CHANGE_RETENTION')]);
    expect(problemsOf(env, { needs: { delivers: true } })).toEqual([]);
    expect(problemsOf({ ...env, EVENT_BUS_NAME: 'bus' }, { needs: { delivers: true } })).toEqual([
      expect.stringContaining('CHANGE_RETENTION'),
    ]);
    expect(problemsOf({ ...env, EVENT_BUS_NAME: 'bus' }, { needs: EVERYTHING })).toEqual([]);
  });

  it('takes a foreign server for the pool where there is a database, never beside a pool', () => {
    const env = { REDIS_URL: 'redis://h', COGNITO_FOREIGN_SERVER: 'cognito_server' };
    const { DATABASE_URL, COGNITO_USER_POOL_ID } = ENOUGH;
    expect(pool({ ...env, DATABASE_URL }, { needs: EVERYTHING })).toMatchObject({
      poolId: '',
      foreignServer: 'cognito_server',
    });
    expect(problemsOf(env, { needs: { pool: true, redis: true } })).toEqual([
      expect.stringContaining('COGNITO_USER_POOL_ID'),
    ]);
    expect(problemsOf({ ...env, COGNITO_USER_POOL_ID })).toEqual([expect.stringContaining('instead')]);
  });

  it('wants a secret beside a webhook', () => {
    expect(problemsOf({ WEBHOOK_URL: 'https://example.com' })).toEqual([
      expect.stringMatching(/^WEBHOOK_SECRET is missing/),
    ]);
  });
});

describe('the Region', () => {
  const COGNITO_USER_POOL_ID = 'eu-west-1_Example';
  it.each<[string, Env, string | null]>([
    ['AWS_REGION', { COGNITO_USER_POOL_ID, AWS_REGION: 'us-east-1', AWS_DEFAULT_REGION: 'us-east-2' }, 'us-east-1'],
    ["the pool's id", { COGNITO_USER_POOL_ID, AWS_DEFAULT_REGION: 'us-east-2' }, 'eu-west-1'],
    ["a GovCloud pool's id", { COGNITO_USER_POOL_ID: 'us-gov-west-1_X' }, 'us-gov-west-1'],
    ['AWS_DEFAULT_REGION', { COGNITO_USER_POOL_ID: 'local_pool', AWS_DEFAULT_REGION: 'us-east-2' }, 'us-east-2'],
    ["the SDK's chain", { COGNITO_USER_POOL_ID: 'local_pool' }, null],
  ])('comes from %s', (_, env, region) => {
    expect(pool(env).region).toBe(region);
  });
});

describe('warnings', () => {
  it.each<[Env, RegExp]>([
    [{ REQUESTS_PER_SECOND: '31' }, /REQUESTS_PER_SECOND is 31/],
    [{ COGNITO_USER_POOL_ID: 'eu-west-1_X', AWS_REGION: 'us-east-1' }, /AWS_REGION is us-east-1/],
    [{ CONFIRM_WITH_ADMIN_GET_USER: 'false' }, /CONFIRM_WITH_ADMIN_GET_USER is off/],
    [{ DELETE_GUARD_COUNT: '', DELETE_GUARD_PERCENT: '' }, /DELETE_GUARD_COUNT/],
    [{ WEBHOOK_URL: 'https://example.com', WEBHOOK_SECRET: 'whsec_c2hvcnQ=' }, /WEBHOOK_SECRET: 5 bytes/],
  ])('%j', (env, warning) => {
    expect(loadSettings(env).warnings).toEqual([expect.stringMatching(warning)]);
  });

  it('are none by default', () => {
    expect(loadSettings({ ...ENOUGH, REQUESTS_PER_SECOND: '30' }, { needs: EVERYTHING }).warnings).toEqual([]);
  });
});

describe('secrets', () => {
  it('are listed, passwords of URLs raw and decoded, so that the log can cut them out', () => {
    const { secrets } = loadSettings({
      ...ENOUGH,
      REDIS_URL: 'rediss://user:p%40ss@h',
      DATABASE_URL: 'postgres://u:hunter22@h/d',
      REFRESH_TOKEN: 'token1',
      WEBHOOK_URL: 'https://example.com/t0ken',
      WEBHOOK_SECRET: SECRET,
    });
    expect(secrets.toSorted()).toEqual(
      ['hunter22', 'https://example.com/t0ken', 'p%40ss', 'p@ss', 'token1', SECRET].toSorted(),
    );
  });

  it('come from files too', () => {
    const readFile = (path: string) => `${path.slice(1)}\n`;
    expect(loadSettings({ REFRESH_TOKEN_FILE: '/t0ken', REFRESH_TOKEN: '' }, { readFile }).refreshToken).toBe('t0ken');
    expect(problemsOf({ REFRESH_TOKEN_FILE: '/a', REFRESH_TOKEN: 'b' }, { readFile })).toEqual([
      expect.stringContaining('both set'),
    ]);
    expect(problemsOf({ REDIS_URL_FILE: '/a' }, { readFile })).toEqual([
      expect.stringMatching(/^REDIS_URL_FILE is no URL/),
    ]);
    expect(problemsOf({ DATABASE_URL_FILE: '/no/such/file' })).toEqual([
      "DATABASE_URL_FILE: the file /no/such/file can't be read (ENOENT)",
    ]);
  });

  it.each([
    'DATABASE_URL',
    'REDIS_URL',
    'REFRESH_TOKEN',
    'WEBHOOK_URL',
    'WEBHOOK_SECRET',
    'WEBHOOK_SECRET_PREVIOUS',
  ] as const)('%s is one', (name) => {
    expect(SETTINGS[name].secret).toBe(true);
  });
});
