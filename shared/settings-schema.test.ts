import { describe, expect, it } from 'vitest';
import { loadSettings, type PoolSettings, type Settings, SettingsError } from './settings.ts';
import { SETTING_NAMES, SETTINGS, type SettingName } from './settings-schema.ts';
import type { Env } from './settings-source.ts';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

function problemsOf(env: Env): readonly string[] {
  try {
    loadSettings(env);
    return [];
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
}

/** For each setting: how to read it back, good texts with their values, bad ones, and what an empty text gives (`'bad'`: refused). */
interface Row {
  readonly read: (settings: Settings, pool: PoolSettings) => unknown;
  readonly standard: unknown;
  readonly good: readonly (readonly [text: string, value: unknown])[];
  readonly bad: readonly string[];
  readonly empty: unknown;
  /** What else must be set. */
  readonly beside?: Env;
}

const BAD_DURATIONS = ['30', '99ms', '-1s', 'soon', '1.5s', '4000d'];
const BAD_URLS = ['localhost', 'ftp://host', 'http://', '//x'];
const BAD_FLAGS = ['maybe', '2', 'truth'];

const TABLE: Record<SettingName, Row> = {
  COGNITO_USER_POOL_ID: {
    read: (_, it) => it.poolId,
    standard: '',
    good: [
      ['eu-west-1_Example', 'eu-west-1_Example'],
      ['any thing, "really"', 'any thing, "really"'],
    ],
    bad: [],
    empty: '',
  },
  AWS_REGION: {
    read: (_, it) => it.region,
    standard: null,
    good: [['eu-north-1', 'eu-north-1']],
    bad: [],
    empty: null,
  },
  AWS_ENDPOINT_URL: {
    read: (_, it) => it.endpoints,
    standard: { cognito: null, sqs: null, events: null },
    good: [
      [
        'http://localhost:5000',
        { cognito: 'http://localhost:5000', sqs: 'http://localhost:5000', events: 'http://localhost:5000' },
      ],
    ],
    bad: BAD_URLS,
    empty: { cognito: null, sqs: null, events: null },
  },
  AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: {
    read: (_, it) => it.endpoints.cognito,
    standard: null,
    good: [['http://localhost:5000', 'http://localhost:5000']],
    bad: BAD_URLS,
    empty: null,
  },
  AWS_ENDPOINT_URL_SQS: {
    read: (_, it) => it.endpoints.sqs,
    standard: null,
    good: [['http://localhost:5000', 'http://localhost:5000']],
    bad: BAD_URLS,
    empty: null,
  },
  AWS_ENDPOINT_URL_CLOUDWATCH_EVENTS: {
    read: (_, it) => it.endpoints.events,
    standard: null,
    good: [['http://localhost:5000', 'http://localhost:5000']],
    bad: BAD_URLS,
    empty: null,
  },
  COGNITO_FOREIGN_SERVER: {
    read: (_, it) => it.foreignServer,
    standard: null,
    good: [['cognito_server', 'cognito_server']],
    bad: [],
    empty: null,
  },
  DATABASE_URL: {
    read: (_, it) => it.databaseUrl,
    standard: '',
    good: [
      ...[
        'postgres://u:p@h:5432/db',
        'postgresql:///db?host=/run/postgresql',
        'postgres://h/db?sslmode=verify-full&sslrootcert=/ca.pem',
      ].map((url) => [url, url] as const),
    ],
    bad: [
      'localhost',
      'mysql://h/db',
      'postgres:h',
      'postgres://h/db?sslmode=strict',
      'postgres://h/db?sslmode=require&sslmode=disable',
    ],
    empty: '',
  },
  DATABASE_AUTH: {
    read: (_, it) => it.databaseAuth,
    standard: null,
    good: [['rds-iam', 'rds-iam']],
    bad: ['iam', 'password'],
    empty: null,
  },
  REDIS_URL: {
    read: (it) => it.redisUrl,
    standard: '',
    good: [
      'redis://localhost',
      'rediss://user:p%40ss@host:6380/2',
      'redis://[::1]:6379',
      'redis+cluster://a:7000,b:7001',
      'rediss+cluster://:pw@a:7000',
      'redis+sentinel://a:26379,b:26379/mymaster',
    ].map((url) => [url, url] as const),
    bad: [
      'localhost:6379',
      'http://host',
      'redis://',
      'redis://a:1,b:2',
      'redis://h:port',
      'redis://h:70000',
      'redis+sentinel://a:26379',
      'redis+cluster://a:1,,b:2',
      'redis+cloud://a',
    ],
    empty: '',
  },
  REDIS_CA: {
    read: (it) => it.redisCa,
    standard: null,
    good: [['-----BEGIN CERTIFICATE-----\nMII', '-----BEGIN CERTIFICATE-----\nMII']],
    bad: ['/no/such/file.pem', '/etc/hostname'],
    empty: null,
  },
  TARGET_TABLE: {
    read: (_, it) => it.targetTable,
    standard: { schema: 'cognito', name: 'users' },
    good: [
      ['auth.people', { schema: 'auth', name: 'people' }],
      ['Auth.People', { schema: 'auth', name: 'people' }],
      ['"Auth"."People"', { schema: 'Auth', name: 'People' }],
      ['"a.b"."say ""hi"""', { schema: 'a.b', name: 'say "hi"' }],
      ['größe.tisch', { schema: 'größe', name: 'tisch' }],
      [`a.${'x'.repeat(63)}`, { schema: 'a', name: 'x'.repeat(63) }],
    ],
    bad: [
      ...[
        'users',
        '.users',
        'cognito.',
        'a..b',
        'a.b.c',
        'my-schema.users',
        '1a.users',
        'a.b c',
        '"a.b',
        '"a"b.c',
        '""."x"',
        'a.b;drop table x',
      ],
      ...[
        `a.${'x'.repeat(64)}`,
        `a.${'ß'.repeat(32)}`,
        'cognito_feed.users',
        'pg_catalog.users',
        'information_schema.users',
      ],
    ],
    empty: { schema: 'cognito', name: 'users' },
  },
  POLL_INTERVAL: {
    read: (_, it) => it.pollIntervalMs,
    standard: 30_000,
    good: [['100ms', 100]],
    bad: BAD_DURATIONS,
    empty: 'bad',
  },
  REQUESTS_PER_SECOND: {
    read: (it) => it.requestsPerSecond,
    standard: 10,
    good: [
      ['0.5', 0.5],
      ['30', 30],
      ['1000', 1000],
    ],
    bad: ['0', '-1', 'ten', '1e3', 'Infinity', '1000000'],
    empty: 'bad',
  },
  DELETE_GUARD_COUNT: {
    read: (_, it) => it.deleteGuardCount,
    standard: 50,
    good: [['0', 0]],
    bad: ['-1', '1.5', 'all'],
    empty: null,
  },
  DELETE_GUARD_PERCENT: {
    read: (_, it) => it.deleteGuardPercent,
    standard: 10,
    good: [
      ['0', 0],
      ['2.5', 2.5],
      ['100', 100],
    ],
    bad: ['-1', '101', '10%'],
    empty: null,
  },
  CONFIRM_WITH_ADMIN_GET_USER: {
    read: (_, it) => it.confirmWithAdminGetUser,
    standard: true,
    good: [
      ['false', false],
      ['TRUE', true],
      ['0', false],
      ['yes', true],
    ],
    bad: BAD_FLAGS,
    empty: false,
  },
  MAX_QUEUED_CHANGES: {
    read: (_, it) => it.maxQueuedChanges,
    standard: 50_000,
    good: [['1', 1]],
    bad: ['0', 'many', '1.5'],
    empty: 'bad',
  },
  RESYNC_INTERVAL: {
    read: (_, it) => it.resyncIntervalMs,
    standard: 86_400_000,
    good: [['1h', 3_600_000]],
    bad: BAD_DURATIONS,
    empty: null,
  },
  CHANGE_RETENTION: {
    read: (_, it) => it.changeRetentionMs,
    standard: 604_800_000,
    good: [['1d', 86_400_000]],
    bad: BAD_DURATIONS,
    empty: null,
  },
  PUBLICATION: {
    read: (_, it) => it.publication,
    standard: 'cognito_users',
    good: [['My pub', 'My pub']],
    bad: ['x'.repeat(64)],
    empty: null,
  },
  HOT_LANES: {
    read: (_, it) => it.hotLanes,
    standard: ['UNCONFIRMED', 'FORCE_CHANGE_PASSWORD', 'RESET_REQUIRED'],
    good: [['UNCONFIRMED, NEW_ONE,,UNCONFIRMED', ['UNCONFIRMED', 'NEW_ONE']]],
    bad: [],
    empty: [],
  },
  HOT_INTERVAL: {
    read: (_, it) => it.hotIntervalMs,
    standard: 5_000,
    good: [['1s', 1_000]],
    bad: BAD_DURATIONS,
    empty: null,
  },
  SQS_QUEUE_URL: {
    read: (_, it) => it.sqsQueueUrl,
    standard: null,
    good: [['https://sqs.eu-west-1.amazonaws.com/1/q', 'https://sqs.eu-west-1.amazonaws.com/1/q']],
    bad: ['arn:aws:sqs:eu-west-1:1:q', 'q'],
    empty: null,
  },
  REFRESH_TOKEN: {
    read: (it) => it.refreshToken,
    standard: null,
    good: [['any "token" at all', 'any "token" at all']],
    bad: [],
    empty: null,
  },
  EVENT_BUS_NAME: {
    read: (_, it) => it.eventBusName,
    standard: null,
    good: [['default', 'default']],
    bad: [],
    empty: null,
  },
  EVENT_SOURCE: {
    read: (_, it) => it.eventSource,
    standard: 'cognito-feed',
    good: [['my.app', 'my.app']],
    bad: ['aws.cognito', 'x'.repeat(257)],
    empty: 'cognito-feed',
  },
  EVENT_VALUES: {
    read: (_, it) => it.eventValues,
    standard: false,
    good: [['true', true]],
    bad: BAD_FLAGS,
    empty: false,
  },
  WEBHOOK_URL: {
    read: (_, it) => it.webhooks[0]?.url,
    standard: undefined,
    good: [['https://example.com/hook?k=1', 'https://example.com/hook?k=1']],
    bad: ['example.com', 'http://example.com', 'https://127.0.0.1/', 'https://[fd00::1]/', 'https://localhost/'],
    empty: undefined,
    beside: { WEBHOOK_SECRET: SECRET },
  },
  WEBHOOK_SECRET: {
    read: (_, it) => it.webhooks[0]?.secret,
    standard: undefined,
    good: [[SECRET, SECRET]],
    bad: [SECRET.slice(6), 'whsec_', 'whsec_not base64', 'whsec_a'],
    empty: undefined,
    beside: {},
  },
  WEBHOOK_SECRET_PREVIOUS: {
    read: (_, it) => it.webhooks[0]?.secretPrevious,
    standard: null,
    good: [[SECRET, SECRET]],
    bad: [SECRET.slice(6), 'whsec_'],
    empty: null,
    beside: { WEBHOOK_URL: 'https://example.com', WEBHOOK_SECRET: SECRET },
  },
  WEBHOOK_ALLOW_INSECURE: {
    read: (_, it) => it.webhooks[0]?.allowInsecure,
    standard: false,
    good: [['true', true]],
    bad: BAD_FLAGS,
    empty: false,
    beside: { WEBHOOK_URL: 'https://example.com', WEBHOOK_SECRET: SECRET },
  },
  HTTP_HOST: {
    read: (it) => it.httpHost,
    standard: '127.0.0.1',
    good: [['0.0.0.0', '0.0.0.0']],
    bad: [],
    empty: '127.0.0.1',
  },
  HTTP_PORT: {
    read: (it) => it.httpPort,
    standard: 9464,
    good: [
      ['0', 0],
      ['65535', 65_535],
    ],
    bad: ['65536', '-1', 'http', '80.5'],
    empty: null,
  },
  LOG_LEVEL: {
    read: (it) => it.logLevel,
    standard: 'info',
    good: [['DEBUG', 'debug']],
    bad: ['verbose'],
    empty: 'info',
  },
  LOG_FORMAT: { read: (it) => it.logFormat, standard: null, good: [['pretty', 'pretty']], bad: ['text'], empty: null },
};

describe.each(SETTING_NAMES)('%s', (name) => {
  const { read, standard, good, bad, empty, beside = {} } = TABLE[name];
  const valueGiven = (text: string | undefined): unknown => {
    const withUrl = name === 'WEBHOOK_SECRET' && text?.trim() ? { WEBHOOK_URL: 'https://example.com' } : {};
    const settings = loadSettings({ ...beside, ...withUrl, ...(text === undefined ? {} : { [name]: text }) });
    return read(settings, settings.pools[0] as PoolSettings);
  };

  it('has its default', () => {
    const without = name === 'WEBHOOK_URL' ? undefined : standard;
    expect(valueGiven(undefined)).toEqual(without);
  });

  it('reads what is good, with blanks around it too', () => {
    for (const [text, value] of good) {
      expect(valueGiven(text)).toEqual(value);
      expect(valueGiven(` ${text}\n`)).toEqual(value);
    }
  });

  it('names itself and what is wrong, and shows the value only where it is no secret', () => {
    for (const text of bad) {
      const [problem, ...more] = problemsOf({ ...beside, [name]: text });
      expect(more, text).toEqual([]);
      expect(problem, text).toMatch(new RegExp(`^${name}\\b`));
      if (SETTINGS[name].secret) expect(problem).not.toContain(JSON.stringify(text));
    }
  });

  it('has a meaning for an empty value', () => {
    if (empty === 'bad') expect(problemsOf({ [name]: '' })).toEqual([expect.stringContaining(`${name} is empty`)]);
    else for (const nothing of ['', '  ']) expect(valueGiven(nothing)).toEqual(empty);
  });

  it('has a default that its own schema reads, and a description', () => {
    const { schema, default: text, description } = SETTINGS[name];
    if (text !== '') expect(schema.safeParse(text).success).toBe(true);
    expect(description).toMatch(/^[A-Za-z/].*[^.]$/);
  });
});
