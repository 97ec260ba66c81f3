/** values.yaml, its schema and the README say the same; what they don't know is refused, and in words. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { CHART, type Manifest, refusal } from './helm.ts';
import { describedValues, withTable } from './values-table.ts';

const read = (name: string): string => readFileSync(`${CHART}${name}`, 'utf8');
const SCHEMA = JSON.parse(read('values.schema.json')) as Manifest;
const example = 'minimal-values.yaml';

/** Kubernetes' own shapes, which its API server checks, and Helm's `global`. */
const OPEN = ['#/definitions/kubernetes', '#/definitions/kubernetesList', '#/properties/global'];

describe('the schema', () => {
  it('leaves nothing open but what is Kubernetes’ own', () => {
    const open: string[] = [];
    const walk = (schema: Manifest, path: string) => {
      if (OPEN.includes(path)) return;
      const isObject = schema.type === 'object' || schema.properties !== undefined;
      if (isObject && schema.additionalProperties !== false && typeof schema.additionalProperties !== 'object')
        open.push(path);
      for (const [name, one] of Object.entries(schema.properties ?? {})) walk(one, `${path}/properties/${name}`);
      for (const [name, one] of Object.entries(schema.definitions ?? {})) walk(one, `${path}/definitions/${name}`);
      if (schema.items !== undefined) walk(schema.items, `${path}/items`);
      if (typeof schema.additionalProperties === 'object') walk(schema.additionalProperties, `${path}/*`);
      const known = ['type', 'properties', 'additionalProperties', 'items', 'enum', '$ref', 'oneOf'];
      expect(
        known.some((word) => schema[word] !== undefined),
        path,
      ).toBe(true);
    };
    walk(SCHEMA, '#');
    expect(open).toEqual([]);
  });

  it('knows every value of values.yaml, and no other', () => {
    const inValues = (value: Manifest, schema: Manifest, path: string): void => {
      const target = schema.$ref === undefined ? schema : SCHEMA.definitions[schema.$ref.replace('#/definitions/', '')];
      if (target.properties === undefined || Array.isArray(value)) return;
      const optional = /^(config|probes\.|updateStrategy\.|\w+\.resources$)/.test(path) || path === '';
      const names = Object.keys(target.properties).filter((name) => name !== 'global');
      for (const name of Object.keys(value)) expect(names, path).toContain(name);
      if (!optional || path === '') expect(Object.keys(value).toSorted(), path).toEqual(names.toSorted());
      for (const [name, one] of Object.entries(value))
        inValues(one, target.properties[name], path === '' ? name : `${path}.${name}`);
    };
    inValues(parse(read('values.yaml')), SCHEMA, '');
  });

  it.each([
    [{ 'poller.replica': 2 }, "at '/poller': additional properties 'replica' not allowed"],
    [{ 'poller.replicas': 'two' }, "at '/poller/replicas': got string, want integer"],
    [{ 'config.pollInterval': 'soon' }, "at '/config/pollInterval': 'soon' does not match pattern"],
    [{ 'config.databaseUrl': 'postgres://x' }, "at '/config': additional properties 'databaseUrl' not allowed"],
    [{ 'config.logLevel': 'loud' }, "at '/config/logLevel': value must be one of 'trace', 'debug'"],
    [{ 'pools[0].cognitoUserPoolID': 'x' }, "additional properties 'cognitoUserPoolID' not allowed"],
    [{ 'pools[1].targetTable': 'a.b' }, "at '/pools/1': missing property 'cognitoUserPoolId'"],
    [{ 'service.type': 'ExternalName' }, "at '/service/type': value must be one of"],
    [{ 'http.port': 80 }, "at '/http/port': minimum: got 80, want 1,024"],
    [{ 'image.digest': 'sha256:abc' }, "at '/image/digest'"],
    [{ terminationGracePeriodSeconds: 5 }, 'want 10'],
    [{ 'monitoring.serviceMonitor.interval': '30 s' }, "at '/monitoring/serviceMonitor/interval'"],
    [{ 'database.password': 'x' }, "additional properties 'password' not allowed"],
  ])('refuses %j in words', async (set, words) => {
    expect(await refusal({ example, set })).toContain(words);
  });

  it('lets the chart be a part of another', async () => {
    expect(await refusal({ example, json: { global: { anything: true } } })).toBeUndefined();
  });
});

describe('what is missing', () => {
  it('is said all at once', async () => {
    const words = (await refusal({})) ?? '';
    for (const what of [
      'image.repository is missing',
      'pools is empty',
      'poller has no REDIS_URL',
      'writer has no REDIS_URL',
    ])
      expect(words).toContain(what);
  });

  it.each([
    [{ 'database.secret.name': '' }, 'writer has no DATABASE_URL for pool eu-west-1_EXAMPLE'],
    [{ 'database.secret.name': '' }, 'migrate has no DATABASE_URL for pool eu-west-1_EXAMPLE'],
    [{ 'publisher.enabled': true }, 'publisher.enabled without a target'],
    [{ 'redis.ca.configMap': 'a', 'redis.ca.secret': 'b' }, 'redis.ca.configMap and redis.ca.secret are both set'],
    [{ 'pools[1].cognitoUserPoolId': 'eu-west-1_EXAMPLE' }, 'eu-west-1_EXAMPLE stands there twice'],
    [{ 'secrets.create': true, 'redis.secret.name': '' }, 'poller has no REDIS_URL'],
  ])('%j: %s', async (set, words) => {
    expect(await refusal({ example, set })).toContain(words);
  });
});

describe('the README', () => {
  const values = read('values.yaml');

  it('describes every value', () => {
    const undescribed = describedValues(values).filter(({ description }) => description === '');
    expect(undescribed.map(({ path }) => path)).toEqual([]);
  });

  it('has the table of values.yaml (npm run test:chart -- values -u makes it anew)', async () => {
    await expect(withTable(read('README.md'), values)).toMatchFileSnapshot(`${CHART}README.md`);
  });

  it('names no value that there is not', () => {
    const known = new Set<string>();
    const walk = (schema: Manifest, path: string) => {
      const target = schema.$ref === undefined ? schema : SCHEMA.definitions[schema.$ref.replace('#/definitions/', '')];
      known.add(path);
      for (const [name, one] of Object.entries(target.properties ?? {}))
        walk(one, path === '' ? name : `${path}.${name}`);
      if (target.items !== undefined) walk(target.items, path);
    };
    walk(SCHEMA, '');
    const roots = Object.keys(SCHEMA.properties).join('|');
    const named = read('README.md').match(new RegExp(`(?<=[\`\\s])(?:${roots})(?:\\.\\w+)+(?=[\`\\s=])`, 'g')) ?? [];
    expect(named.length).toBeGreaterThan(50);
    // Annotations and the like have keys of their own.
    expect(named.filter((name) => !known.has(name) && !/annotations|labels/i.test(name))).toEqual([]);
  });
});
