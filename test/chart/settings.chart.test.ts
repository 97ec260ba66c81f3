/** The chart and the code's own settings: the same names, and what the chart gives a service is what that service accepts. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { COMMANDS } from '../../services/cli/commands.ts';
import { loadSettings, type Settings } from '../../shared/settings.ts';
import { SETTING_NAMES, SETTINGS, type SettingName, yamlName } from '../../shared/settings-schema.ts';
import { CHART, configOf, EXAMPLES, environmentOf, find, type Manifest, pods, rendered, template } from './helm.ts';

const SCHEMA = JSON.parse(readFileSync(`${CHART}values.schema.json`, 'utf8')) as Manifest;
const PASSWORD = 'not-to-be-seen';

/** What a Secret holds, by the variable or file that it is read through. */
const HELD: Readonly<Record<string, string>> = {
  DATABASE_URL: `postgres://feed:${PASSWORD}@postgres:5432/app`,
  REDIS_URL: `redis://:${PASSWORD}@redis:6379`,
  WEBHOOK_URL: 'https://hooks.example.com/a',
  WEBHOOK_SECRET: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  REFRESH_TOKEN: PASSWORD,
};

/** The settings of a pod, loaded as its command loads them. @throws SettingsError */
async function settingsOf(example: string, service: string): Promise<Settings> {
  const manifests = await rendered({ example });
  const { pod } = pods(manifests).find((it) => it.service === service) as Manifest;
  const variables = [...environmentOf(pod).values()];
  const env = Object.fromEntries(
    variables
      .filter(({ valueFrom }) => valueFrom?.secretKeyRef.optional !== true)
      .map(({ name, value }) => [name, value ?? HELD[name]]),
  );
  return loadSettings(env, {
    needs: COMMANDS.find(({ name }) => name === service)?.needs ?? {},
    readFile: (path) => {
      if (path === env['COGNITO_FEED_CONFIG']) return find(manifests, 'ConfigMap', service).data['config.yaml'];
      return mounted(pod, path);
    },
  });
}

/** What stands at a path in a pod. @throws ENOENT where nothing is mounted there */
function mounted(pod: Manifest, path: string): string {
  const mount = pod.spec.containers[0].volumeMounts.find((it: Manifest) => path.startsWith(`${it.mountPath}/`));
  const volume = pod.spec.volumes.find((it: Manifest) => it.name === mount?.name);
  const item = (volume?.secret ?? volume?.configMap)?.items?.find(
    (it: Manifest) => `${mount.mountPath}/${it.path}` === path,
  );
  if (item === undefined) throw Object.assign(new Error(path), { code: 'ENOENT' });
  if (item.path === 'ca.crt') return '-----BEGIN CERTIFICATE-----\nMII';
  if (mount.name.startsWith('database-')) return `postgres://feed:${PASSWORD}@other:5432/app\n`;
  return HELD[item.path === 'url' ? 'WEBHOOK_URL' : 'WEBHOOK_SECRET'] ?? '';
}

describe.concurrent.each(EXAMPLES)('what the pods are given by %s', (example) => {
  it('is what their commands accept', async () => {
    for (const { service } of pods(await rendered({ example }))) {
      const settings = await settingsOf(example, service);
      expect(settings.pools.map(({ poolId }) => poolId)[0], service).toMatch(/^[a-z]+-[a-z]+-1_/);
      expect(settings.warnings, service).toEqual([]);
      if (service !== 'migrate') expect([settings.httpHost, settings.httpPort]).toEqual(['0.0.0.0', 9464]);
    }
  });
});

describe('several pools', () => {
  it('keep their own settings, Regions and databases, each service those it may know', async () => {
    const example = 'several-pools-values.yaml';
    const [customers, staff, us] = (await settingsOf(example, 'writer')).pools;
    expect([customers, staff, us]).toMatchObject([
      { poolId: 'eu-west-1_CUSTOMERS', region: 'eu-west-1', pollIntervalMs: 60_000, maxQueuedChanges: 1_000_000 },
      { poolId: 'eu-west-1_STAFF', pollIntervalMs: 300_000, publication: null, targetTable: { schema: 'staff' } },
      { poolId: 'us-east-1_CUSTOMERS', region: 'us-east-1' },
    ]);
    expect([customers?.databaseUrl, us?.databaseUrl]).toEqual([
      expect.stringContaining('@postgres:'),
      expect.stringContaining('@other:'),
    ]);
    const poller = await settingsOf(example, 'poller');
    expect(poller.pools.map(({ databaseUrl }) => databaseUrl)).toEqual(['', '', '']);
    expect(poller.requestsPerSecond).toBe(20);
  });

  it("have Regions that the cluster's own, which EKS puts into the environment, does not overrule", async () => {
    const manifests = await rendered({ example: 'irsa-values.yaml' });
    const config = find(manifests, 'ConfigMap', 'poller').data['config.yaml'] as string;
    const env = { AWS_REGION: 'us-west-2', COGNITO_FEED_CONFIG: '/config.yaml', REDIS_URL: 'redis://redis' };
    const { pools, warnings } = loadSettings(env, { readFile: () => config });
    expect([pools[0]?.region, warnings]).toEqual(['eu-west-1', []]);
  });

  it('reach the publisher with its webhooks and their secrets from files', async () => {
    const { pools } = await settingsOf('publisher-values.yaml', 'publisher');
    expect(pools[0]).toMatchObject({
      eventBusName: 'users',
      webhooks: [
        { name: 'crm', url: HELD['WEBHOOK_URL'], ops: ['insert', 'delete'], secretPrevious: HELD['WEBHOOK_SECRET'] },
        { name: 'mail', columns: ['email'], attributes: ['custom:newsletter'], secretPrevious: null },
      ],
    });
  });
});

describe('names', () => {
  /** Not for `config`: secrets come from Secrets, the pool's id stands in `pools`, these the chart sets itself or can't use. */
  const ELSEWHERE: readonly SettingName[] = [
    ...['COGNITO_USER_POOL_ID', 'HTTP_HOST', 'HTTP_PORT', 'REDIS_CA'],
    // It is not for a poller that has no database.
    'COGNITO_FOREIGN_SERVER',
  ] as SettingName[];
  const inConfig = SETTING_NAMES.filter((name) => !SETTINGS[name].secret && !ELSEWHERE.includes(name));

  it("of `config` and `pools` are the code's settings", () => {
    expect(Object.keys(SCHEMA.properties.config.properties).toSorted()).toEqual(inConfig.map(yamlName).toSorted());
    const ofPool = inConfig.filter((name) => SETTINGS[name].scope === 'pool').map(yamlName);
    const { properties } = SCHEMA.definitions.pool;
    const own = ['cognitoUserPoolId', 'databaseSecret', 'migrateDatabaseSecret', 'publisherDatabaseSecret'];
    expect(Object.keys(properties).toSorted()).toEqual([...ofPool, ...own].toSorted());
  });

  it('of the environment are settings, or what the AWS SDK reads', async () => {
    const known = new Set([
      ...SETTING_NAMES,
      'COGNITO_FEED_CONFIG',
      ...['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'NODE_EXTRA_CA_CERTS'],
    ] as string[]);
    for (const example of EXAMPLES)
      for (const { pod } of pods(await rendered({ example })))
        expect([...environmentOf(pod).keys()].filter((name) => !known.has(name))).toEqual([]);
  });

  it('and defaults: what the schema of `config` accepts, so does the code', async () => {
    const defaults = inConfig
      .filter((name) => SETTINGS[name].default !== '')
      .map((name) => [yamlName(name), asValue(SETTINGS[name].default)]);
    const text = await template({
      example: 'minimal-values.yaml',
      json: { config: Object.fromEntries(defaults) },
    });
    expect(text).toContain('pollInterval: 30s');
  });

  it('and what can be turned off: the same things', async () => {
    // The Region goes into each pool.
    const names = inConfig.filter((name) => SETTINGS[name].empty === 'off' && name !== 'AWS_REGION').map(yamlName);
    const config = Object.fromEntries(names.map((name) => [name, '']));
    const manifests = await rendered({ example: 'minimal-values.yaml', json: { config } });
    expect(configOf(manifests, 'writer')).toMatchObject(config);
  });
});

const asValue = (text: string): unknown => (/^(\d+|true|false)$/.test(text) ? JSON.parse(text) : text);
