import { describe, expect, it } from 'vitest';
import { loadSettings, type Settings, SettingsError } from './settings.ts';
import type { Env } from './settings-source.ts';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

function load(yaml: string, env: Env = {}, pool?: string): Settings {
  const files: Record<string, string> = { '/etc/feed.yaml': yaml, '/etc/db-url': 'postgres://u:fr0m-file@h/db\n' };
  const readFile = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error('no'), { code: 'ENOENT' });
    return text;
  };
  return loadSettings({ ...env, COGNITO_FEED_CONFIG: '/etc/feed.yaml' }, { readFile, pool });
}

function problemsOf(...args: Parameters<typeof load>): readonly string[] {
  try {
    load(...args);
    return [];
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
}

const TWO_POOLS = `
redisUrl: redis://file
pollInterval: 1m
httpPort: 1234
maxQueuedChanges: 7
pools:
  - cognitoUserPoolId: eu-west-1_A
    databaseUrl: postgres://h/a
    pollInterval: 10s
    hotLanes: [UNCONFIRMED, RESET_REQUIRED]
  - cognitoUserPoolId: eu-west-1_B
    databaseUrl: postgres://h/b
    changeRetention:
    publication: ~
    deleteGuardCount: null
    confirmWithAdminGetUser: false
`;

describe('COGNITO_FEED_CONFIG', () => {
  it('gives pools, each complete', () => {
    const { pools, httpPort, redisUrl } = load(TWO_POOLS);
    expect([httpPort, redisUrl]).toEqual([1234, 'redis://file']);
    expect(pools).toMatchObject([
      {
        poolId: 'eu-west-1_A',
        region: 'eu-west-1',
        pollIntervalMs: 10_000,
        maxQueuedChanges: 7,
        deleteGuardCount: 50,
        hotLanes: ['UNCONFIRMED', 'RESET_REQUIRED'],
        publication: 'cognito_users',
      },
      {
        poolId: 'eu-west-1_B',
        pollIntervalMs: 60_000,
        changeRetentionMs: null,
        publication: null,
        deleteGuardCount: null,
        confirmWithAdminGetUser: false,
      },
    ]);
  });

  it('is overruled by the environment at its top level, and overrules it in a pool', () => {
    const { pools, httpPort, redisUrl } = load(TWO_POOLS, {
      POLL_INTERVAL: '2m',
      HTTP_PORT: '4321',
      REDIS_URL: 'redis://env',
      MAX_QUEUED_CHANGES: '8',
    });
    expect([httpPort, redisUrl]).toEqual([4321, 'redis://env']);
    expect(pools).toMatchObject([
      { pollIntervalMs: 10_000, maxQueuedChanges: 8 },
      { pollIntervalMs: 120_000, maxQueuedChanges: 8 },
    ]);
  });

  it('may be one pool without a list, and may be empty', () => {
    expect(load('cognitoUserPoolId: 12345678901234567890').pools).toMatchObject([{ poolId: '12345678901234567890' }]);
    expect(load('').pools).toHaveLength(1);
    expect(load('# nothing yet\n', { COGNITO_USER_POOL_ID: 'x' }).pools).toMatchObject([{ poolId: 'x' }]);
  });

  it('reads secrets from files beside itself', () => {
    expect(load('databaseUrlFile: db-url').pools).toMatchObject([{ databaseUrl: 'postgres://u:fr0m-file@h/db' }]);
    expect(load('databaseUrlFile: db-url').secrets).toEqual(['fr0m-file']);
    expect(problemsOf('databaseUrlFile: none')).toEqual([
      "databaseUrlFile (/etc/feed.yaml:1): the file /etc/none can't be read (ENOENT)",
    ]);
  });

  it('names line and path of what is wrong', () => {
    const yaml = `
pollInterval: 5
pollIntervall: 5s
httpPort: {a: 1}
pools:
  - cognitoUserPoolId: a
    logLevel: debug
    bogus: 1
    targetTable: users
  - just text
`;
    expect(problemsOf(yaml)).toEqual([
      'pollIntervall (/etc/feed.yaml:3): there is no such setting',
      'httpPort (/etc/feed.yaml:4): no single value',
      'pools[0].logLevel (/etc/feed.yaml:7): not for one pool, only for all of them',
      'pools[0].bogus (/etc/feed.yaml:8): there is no such setting',
      'pools[1] (/etc/feed.yaml:10): no list of names and values',
      expect.stringMatching(/^pools\[0\]\.targetTable \(\/etc\/feed.yaml:9\) is "users", a table without its schema/),
      expect.stringMatching(/^pollInterval \(\/etc\/feed.yaml:2\) is "5", no duration/),
    ]);
  });

  it.each([
    ['a: [1', /^\/etc\/feed.yaml:1: no valid YAML \(\w+\)$/],
    ['redisUrl: "redis://u:hunter22@h', /^\/etc\/feed.yaml:1: no valid YAML \(\w+\)$/],
    ['httpPort: 1\nhttpPort: 2', /^\/etc\/feed.yaml:2: no valid YAML \(DUPLICATE_KEY\)$/],
    ['- a\n- b', /no list of names and values/],
    ['just text', /no list of names and values/],
    ['pools: []', /^pools \(\/etc\/feed.yaml:1\): no list of pools/],
    ['pools: x', /^pools \(\/etc\/feed.yaml:1\): no list of pools/],
    ['redisUrl: *nowhere', /./],
  ])('refuses %j in one plain line', (yaml, problem) => {
    const problems = problemsOf(yaml);
    expect(problems).toEqual([expect.stringMatching(problem)]);
    expect(problems.join()).not.toContain('hunter22');
  });

  it('says when the file is not there', () => {
    expect(() => loadSettings({ COGNITO_FEED_CONFIG: '/no/such.yaml' })).toThrow(
      "COGNITO_FEED_CONFIG: the file /no/such.yaml can't be read (ENOENT)",
    );
  });
});

describe('several pools', () => {
  const two = (a: string, b: string): string =>
    `pools:\n  - {cognitoUserPoolId: a, ${a}}\n  - {cognitoUserPoolId: b, ${b}}\n`;

  it('are chosen by --pool', () => {
    expect(load(TWO_POOLS, {}, 'eu-west-1_B').pools.map((pool) => pool.poolId)).toEqual(['eu-west-1_B']);
    expect(problemsOf(TWO_POOLS, {}, 'c')).toEqual([
      '--pool is "c", none of the pools in the settings: eu-west-1_A, eu-west-1_B',
    ]);
  });

  it.each([
    ['databaseUrl: postgres://u@h/a', 'databaseUrl: postgresql://v:w@H:5432/a?sslmode=require'],
    ['databaseUrl: postgres:///a', 'databaseUrl: postgres://localhost/a'],
  ])('must not share a mirror: %s and %s', (a, b) => {
    expect(problemsOf(two(a, b))).toEqual([
      expect.stringContaining('a and b have the same TARGET_TABLE in the same database'),
    ]);
  });

  it.each([
    ['databaseUrl: postgres://h/a', 'databaseUrl: postgres://h/b'],
    ['databaseUrl: postgres://h:5433/a', 'databaseUrl: postgres://h/a'],
    ['databaseUrl: postgres://h/a', 'databaseUrl: postgres://h/a, targetTable: cognito.others'],
    ['databaseUrl: postgres://h/a', 'databaseUrl: postgres://h/a, targetTable: \'"Cognito".users\''],
    ['pollInterval: 5s', 'pollInterval: 6s'],
  ])('may share other things: %s and %s', (a, b) => {
    expect(problemsOf(two(a, b))).toEqual([]);
  });

  it('is one pool twice in one database', () => {
    const twice = two('databaseUrl: postgres://h/a', 'databaseUrl: postgres://h/a, targetTable: a.b').replace(
      'PoolId: b',
      'PoolId: a',
    );
    expect(problemsOf(twice)).toEqual([expect.stringContaining('a stands there twice')]);
  });
});

describe('webhooks', () => {
  it('have names and filters, and stand beside the one of WEBHOOK_URL', () => {
    const yaml = `
webhooks:
  - {name: crm, url: 'https://crm.example.com', secret: ${SECRET}, ops: [insert, delete]}
  - {name: mail, url: 'http://10.0.0.1/', secret: ${SECRET}, allowInsecure: true, columns: [email], attributes: 'custom:a, custom:b'}
`;
    const { pools } = load(yaml, { WEBHOOK_URL: 'https://example.com', WEBHOOK_SECRET: SECRET });
    expect(pools[0]?.webhooks).toMatchObject([
      { name: 'webhook', ops: null, columns: null, attributes: null },
      { name: 'crm', ops: ['insert', 'delete'], columns: null, secretPrevious: null, allowInsecure: false },
      { name: 'mail', ops: null, columns: ['email'], attributes: ['custom:a', 'custom:b'] },
    ]);
  });

  it('of a pool replace those of the top level', () => {
    const hook = (name: string) => `[{name: ${name}, url: 'https://example.com', secret: ${SECRET}}]`;
    const { pools } = load(
      `webhooks: ${hook('top')}\npools:\n  - {cognitoUserPoolId: a}\n  - {cognitoUserPoolId: b, webhooks: ${hook('own')}}`,
    );
    expect(pools.map((pool) => pool.webhooks.map((webhook) => webhook.name))).toEqual([['top'], ['own']]);
  });

  it.each([
    ["{name: a, url: 'https://e.com'}", /needs a name, a url and a secret/],
    [`{url: 'https://e.com', secret: ${SECRET}}`, /needs a name, a url and a secret/],
    [`{name: a, url: 'http://e.com', secret: ${SECRET}}`, /plain http/],
    [`{name: a, url: 'https://e.com', secret: hunter22}`, /secret .* is no secret as Standard Webhooks/],
    [`{name: a, url: 'https://e.com', secret: ${SECRET}, ops: [read]}`, /ops: read: none of insert, update, delete/],
    [`{name: a, url: 'https://e.com', secret: ${SECRET}, columns: [sub]}`, /columns: sub: none of username, email/],
    [`{name: a, url: 'https://e.com', secret: ${SECRET}, columns: []}`, /an empty list/],
    [`{name: webhook, url: 'https://e.com', secret: ${SECRET}}`, /another target has this name/],
    [
      `{name: a, url: 'https://e.com', secret: ${SECRET}, retries: 3}`,
      /webhooks\[0\]\.retries .*: there is no such setting/,
    ],
    ['text', /no list of names and values/],
  ])('refuse %s', (entry, problem) => {
    const problems = problemsOf(`webhooks: [${entry}]`);
    expect(problems[0]).toMatch(problem);
    expect(problems.join()).not.toContain('hunter22');
  });
});
