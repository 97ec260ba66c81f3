/** The restricted Pod Security Standard, field by field; and who is given which credentials. */
import { describe, expect, it } from 'vitest';
import { all, configOf, EXAMPLES, environmentOf, find, type Manifest, podOf, pods, refusal, rendered } from './helm.ts';

/** https://kubernetes.io/docs/concepts/security/pod-security-standards/: the volume types of the restricted profile. */
const VOLUMES = [
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
];

const DATABASE = /DATABASE|^PG|postgres/;
const AWS_KEYS = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'];

describe.concurrent.each(EXAMPLES)('with %s', (example) => {
  it('every pod passes the restricted Pod Security Standard', async () => {
    const found = pods(await rendered({ example }));
    expect(found.map(({ service }) => service)).toEqual(expect.arrayContaining(['poller', 'writer', 'migrate']));
    for (const { service, pod } of found) expectRestricted(service, pod.spec);
  });

  it('the poller is given no database, the writer no AWS key, the publisher no Redis', async () => {
    const manifests = await rendered({ example });
    for (const { service, pod } of pods(manifests)) {
      const names = [...environmentOf(pod).keys()];
      const secrets = JSON.stringify([pod.spec.volumes, [...environmentOf(pod).values()]]);
      if (service === 'poller') {
        expect(names.filter((name) => DATABASE.test(name))).toEqual([]);
        expect(secrets).not.toMatch(/database|postgres|writer|feed-owner/i);
        expect(JSON.stringify(configOf(manifests, 'poller'))).not.toMatch(/databaseUrl|webhook/);
      } else expect(names.some((name) => name === 'DATABASE_URL')).toBe(true);
      if (service === 'writer' || service === 'migrate')
        expect(names.filter((it) => AWS_KEYS.includes(it))).toEqual([]);
      if (service === 'publisher' || service === 'migrate') expect(names).not.toContain('REDIS_URL');
    }
  });

  it('no secret value stands in a pod or a ConfigMap', async () => {
    const manifests = await rendered({ example });
    for (const { pod } of pods(manifests)) {
      for (const variable of environmentOf(pod).values()) {
        const isSecret = /URL$|KEY|TOKEN|SECRET|PASSWORD/.test(variable.name);
        if (isSecret) expect(variable.value).toBeUndefined();
      }
    }
    for (const { data } of all(manifests, 'ConfigMap'))
      expect(JSON.stringify(data)).not.toMatch(/whsec_|:\/\/[^"/]*:[^"/]*@/);
  });
});

function expectRestricted(service: string, spec: Manifest): void {
  const told = (what: string) => `${service}: ${what}`;
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC', 'initContainers', 'ephemeralContainers'])
    expect(spec[field], told(field)).toBeUndefined();
  expect(spec.securityContext.runAsNonRoot, told('runAsNonRoot')).toBe(true);
  expect(spec.securityContext.runAsUser, told('runAsUser')).toBeGreaterThan(0);
  expect(spec.securityContext.seccompProfile, told('seccompProfile')).toEqual({ type: 'RuntimeDefault' });
  for (const field of ['sysctls', 'windowsOptions', 'seLinuxOptions', 'appArmorProfile'])
    expect(spec.securityContext[field], told(field)).toBeUndefined();
  for (const volume of spec.volumes)
    for (const type of Object.keys(volume).filter((key) => key !== 'name')) expect(VOLUMES, told(type)).toContain(type);
  expect(spec.containers, told('containers')).toHaveLength(1);
  for (const container of spec.containers) {
    const { securityContext: context, ports = [] } = container;
    expect(context.allowPrivilegeEscalation, told('allowPrivilegeEscalation')).toBe(false);
    expect(context.capabilities, told('capabilities')).toEqual({ drop: ['ALL'] });
    expect(context.privileged, told('privileged')).not.toBe(true);
    expect(context.procMount, told('procMount')).toBeUndefined();
    expect(context.runAsNonRoot, told('runAsNonRoot')).toBe(true);
    expect(context.seccompProfile, told('seccompProfile')).toEqual({ type: 'RuntimeDefault' });
    for (const port of ports) expect(port.hostPort, told('hostPort')).toBeUndefined();
    // Beyond the standard.
    expect(context.readOnlyRootFilesystem, told('readOnlyRootFilesystem')).toBe(true);
  }
  expect(spec.automountServiceAccountToken, told('token')).toBe(false);
  expect(spec.enableServiceLinks, told('service links')).toBe(false);
}

describe.concurrent('credentials', () => {
  it.each([
    ['poller', 'DATABASE_URL'],
    ['poller', 'PGPASSWORD'],
    ['writer', 'AWS_SECRET_ACCESS_KEY'],
    ['publisher', 'REDIS_URL'],
  ])('the %s is not given %s by extraEnv either', async (service, name) => {
    const example = 'publisher-values.yaml';
    const json = { [`${service}.extraEnv`]: [{ name, value: 'x' }] };
    expect(await refusal({ example, json })).toContain(`${service}.extraEnv or extraEnv holds ${name}`);
    expect(await refusal({ example, json: { extraEnv: [{ name, value: 'x' }] } })).toContain(
      `which is not the ${service}'s`,
    );
    expect(await refusal({ example, json: { extraEnv: [{ name: 'NODE_OPTIONS', value: '' }] } })).toBeUndefined();
  });

  it('makes no Secret unless asked', async () => {
    for (const example of EXAMPLES.filter((name) => name !== 'publisher-values.yaml'))
      expect(all(await rendered({ example }), 'Secret')).toEqual([]);
  });

  it('makes, when asked, one Secret for each service with its own values alone', async () => {
    const manifests = await rendered({ example: 'publisher-values.yaml' });
    const keys = (service: string) => Object.keys(find(manifests, 'Secret', service).stringData).toSorted();
    expect(keys('poller')).toEqual(['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'REDIS_URL', 'REFRESH_TOKEN']);
    expect(keys('writer')).toEqual(['DATABASE_URL', 'REDIS_URL']);
    expect(keys('publisher')).toEqual(['DATABASE_URL']);
    expect(keys('migrate')).toEqual(['DATABASE_URL']);
    expect(find(manifests, 'Secret', 'migrate').stringData.DATABASE_URL).toContain('feed_owner');
    expect(find(manifests, 'Secret', 'publisher').stringData.DATABASE_URL).toContain('feed_publisher');
  });

  it('lets each service log in as itself', async () => {
    const manifests = await rendered({ example: 'external-secrets-values.yaml' });
    const secretOf = (service: string, name: string) =>
      environmentOf(podOf(manifests, service)).get(name).valueFrom.secretKeyRef;
    expect(secretOf('poller', 'REDIS_URL')).toEqual({ name: 'feed-poller-redis', key: 'uri' });
    expect(secretOf('writer', 'REDIS_URL')).toEqual({ name: 'feed-writer-redis', key: 'uri' });
    expect(secretOf('writer', 'DATABASE_URL')).toEqual({ name: 'feed-writer-db', key: 'uri' });
    expect(secretOf('migrate', 'DATABASE_URL')).toEqual({ name: 'feed-owner-db', key: 'uri' });
    expect(secretOf('poller', 'AWS_SESSION_TOKEN')).toEqual({
      name: 'feed-poller-aws',
      key: 'AWS_SESSION_TOKEN',
      optional: true,
    });
  });

  it('needs no annotation, and takes any', async () => {
    const irsa = await rendered({ example: 'irsa-values.yaml' });
    expect(find(irsa, 'ServiceAccount', 'poller').metadata.annotations).toEqual({
      'eks.amazonaws.com/role-arn': 'arn:aws:iam::123456789012:role/cognito-feed-poller',
    });
    expect(environmentOf(podOf(irsa, 'poller')).has('AWS_ACCESS_KEY_ID')).toBe(false);
    const identity = await rendered({ example: 'pod-identity-values.yaml' });
    expect(find(identity, 'ServiceAccount', 'poller').metadata).not.toHaveProperty('annotations');
    expect(podOf(identity, 'poller').spec.serviceAccountName).toBe('feed-poller');
    expect(all(identity, 'ServiceAccount', 'writer')).toEqual([]);
    expect(podOf(identity, 'writer').spec.serviceAccountName).toBe('default');
  });
});
