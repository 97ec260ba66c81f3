/** What the chart does with its values, one thing each. */
import { cp, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  all,
  CHART,
  EXAMPLES,
  environmentOf,
  find,
  type Manifest,
  podOf,
  rendered,
  template,
  type Values,
} from './helm.ts';

const example = 'minimal-values.yaml';
const annotation = (pod: Manifest, name: string): string => pod.metadata.annotations[name];

describe.concurrent('pods', () => {
  it('run their own command as the image does, and answer the probes', async () => {
    const manifests = await rendered({ example: 'publisher-values.yaml' });
    for (const service of ['poller', 'writer', 'publisher']) {
      const [container] = podOf(manifests, service).spec.containers;
      expect(container).toMatchObject({
        args: [service],
        startupProbe: { httpGet: { path: '/healthz', port: 'http' } },
        livenessProbe: { httpGet: { path: '/healthz', port: 'http' } },
        readinessProbe: { httpGet: { path: '/readyz', port: 'http' } },
        ports: [{ name: 'http', containerPort: 9464 }],
      });
      expect(container).not.toHaveProperty('command');
      expect(container.resources.limits.memory).toBe('512Mi');
    }
  });

  it('change when their settings do, and only those whose settings they are', async () => {
    const sums = async (values: Values) => {
      const manifests = await rendered(values);
      return ['poller', 'writer', 'publisher'].map((service) =>
        annotation(podOf(manifests, service), 'checksum/config'),
      );
    };
    const publisher = 'publisher-values.yaml';
    const before = await sums({ example: publisher });
    expect(await sums({ example: publisher, set: { 'poller.replicas': 5 } })).toEqual(before);
    const slower = await sums({ example: publisher, set: { 'config.pollInterval': '1h' } });
    for (const [i, sum] of slower.entries()) expect(sum).not.toBe(before[i]);
    const [poller, writer, publishers] = await sums({ example: publisher, json: { 'publisher.webhooks': [] } });
    expect([poller, writer]).toEqual(before.slice(0, 2));
    expect(publishers).not.toBe(before[2]);
  });

  it("change when the chart's own Secret does", async () => {
    const sum = async (set: Values['set']) =>
      annotation(
        podOf(await rendered({ example: 'publisher-values.yaml', set: set ?? {} }), 'writer'),
        'checksum/secret',
      );
    expect(await sum({ 'secrets.databaseUrl': 'postgres://other' })).not.toBe(await sum({}));
    expect(await sum({ 'secrets.refreshToken': 'other' })).toBe(await sum({}));
  });

  it('spread over zones and nodes, with their own selector', async () => {
    const { spec } = podOf(await rendered({ example }), 'writer');
    expect(spec.topologySpreadConstraints).toMatchObject([
      {
        topologyKey: 'topology.kubernetes.io/zone',
        labelSelector: { matchLabels: { 'app.kubernetes.io/component': 'writer' } },
      },
      { topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway' },
    ]);
  });

  it('take more environment, volumes, labels and placement', async () => {
    const manifests = await rendered({
      example: 'external-secrets-values.yaml',
      set: { 'writer.nodeSelector.disk': 'fast' },
      json: { 'writer.extraEnv': [{ name: 'PGAPPNAME', value: 'feed' }], podLabels: { mesh: 'on' } },
    });
    const writer = podOf(manifests, 'writer');
    expect([...environmentOf(writer).keys()]).toEqual(expect.arrayContaining(['NODE_EXTRA_CA_CERTS', 'PGAPPNAME']));
    expect(writer.spec.volumes).toContainEqual({ name: 'proxy-ca', configMap: { name: 'proxy-ca' } });
    expect(writer.spec.containers[0].volumeMounts).toContainEqual({
      name: 'proxy-ca',
      mountPath: '/etc/proxy-ca',
      readOnly: true,
    });
    expect(writer.metadata.labels).toMatchObject({ mesh: 'on', team: 'identity' });
    expect(writer.spec.nodeSelector).toEqual({ disk: 'fast' });
    expect(podOf(manifests, 'poller').spec).toMatchObject({
      nodeSelector: { 'kubernetes.io/arch': 'amd64' },
      priorityClassName: 'business',
      imagePullSecrets: [{ name: 'registry' }],
      tolerations: [{ key: 'dedicated' }],
    });
  });

  it("mount the CAs where the settings' files are", async () => {
    const irsa = await rendered({ example: 'irsa-values.yaml' });
    for (const service of ['writer', 'migrate']) {
      expect(podOf(irsa, service).spec.volumes).toContainEqual({
        name: 'database-ca',
        configMap: { name: 'rds-ca', items: [{ key: 'global-bundle.pem', path: 'ca.crt' }] },
      });
    }
    expect(JSON.stringify(podOf(irsa, 'poller'))).not.toContain('database-ca');
    const external = await rendered({ example: 'external-secrets-values.yaml' });
    expect(environmentOf(podOf(external, 'poller')).get('REDIS_CA').value).toBe('/etc/cognito-feed/redis-ca/ca.crt');
    expect(podOf(external, 'poller').spec.volumes).toContainEqual({
      name: 'redis-ca',
      secret: { secretName: 'redis-tls', items: [{ key: 'ca.pem', path: 'ca.crt' }] },
    });
  });

  it('name the image by digest, tag or version', async () => {
    const image = async (values: Values) => podOf(await rendered(values), 'poller').spec.containers[0].image;
    expect(await image({ example: 'irsa-values.yaml' })).toMatch(/cognito-feed@sha256:0123/);
    expect(await image({ example, set: { 'image.tag': 'main' } })).toBe('registry.example.com/cognito-feed:main');
    expect(await image({ example })).toBe('registry.example.com/cognito-feed:0.1.0');
  });
});

describe.concurrent('the migration', () => {
  it('is a hook, and so is all that it needs: nothing else is there before an install', async () => {
    for (const one of EXAMPLES) {
      const manifests = await rendered({ example: one });
      const hooks = manifests.filter(({ metadata }) => metadata.annotations?.['helm.sh/hook'] !== undefined);
      const weight = (kind: string) =>
        Number(hooks.find((it) => it.kind === kind)?.metadata.annotations['helm.sh/hook-weight']);
      expect(hooks.every(({ metadata }) => metadata.annotations['helm.sh/hook'] === 'pre-install,pre-upgrade')).toBe(
        true,
      );
      const job = find(hooks, 'Job', 'migrate');
      expect(job.spec.template.spec).toMatchObject({
        restartPolicy: 'Never',
        serviceAccountName: expect.stringMatching(/migrate$/),
      });
      for (const kind of ['ServiceAccount', 'ConfigMap']) expect(weight(kind)).toBeLessThan(weight('Job'));
      expect(all(hooks, 'NetworkPolicy')).toHaveLength(all(manifests, 'NetworkPolicy').length > 0 ? 1 : 0);
      const made = [...all(manifests, 'Secret', 'migrate'), ...all(manifests, 'ConfigMap', 'migrate')];
      expect(made.every((it) => hooks.includes(it))).toBe(true);
      expect(hooks.every(({ metadata }) => metadata.labels['app.kubernetes.io/component'] === 'migrate')).toBe(true);
    }
  });

  it('makes the roles only when asked, and can be left out', async () => {
    const args = async (set: Values['set'] = {}) =>
      podOf(await rendered({ example, set }), 'migrate').spec.containers[0].args;
    expect(await args()).toEqual(['migrate']);
    expect(await args({ 'migrate.roles': true })).toEqual(['migrate', '--roles']);
    const without = await rendered({ example, set: { 'migrate.enabled': false } });
    expect(without.filter(({ metadata }) => metadata.name.endsWith('-migrate'))).toEqual([]);
  });
});

describe.concurrent('the rest', () => {
  it('a PodDisruptionBudget only where there are replicas to spare', async () => {
    const names = async (values: Values) =>
      all(await rendered(values), 'PodDisruptionBudget').map(({ metadata }) => metadata.name);
    expect(await names({ example })).toEqual([]);
    expect(await names({ example, set: { 'writer.replicas': 2 } })).toEqual(['feed-cognito-feed-writer']);
    expect(await names({ example: 'monitoring-values.yaml' })).toEqual(['feed-cognito-feed-poller']);
    expect(await names({ example: 'publisher-values.yaml' })).toHaveLength(3);
    expect(await names({ example: 'publisher-values.yaml', set: { 'podDisruptionBudget.enabled': false } })).toEqual(
      [],
    );
  });

  it('a Service for each: the poller takes POST /refresh, the writer has the status page', async () => {
    const manifests = await rendered({ example });
    for (const service of ['poller', 'writer']) {
      const { spec } = find(manifests, 'Service', service);
      expect(spec.ports).toEqual([{ name: 'http', port: 9464, targetPort: 'http', protocol: 'TCP' }]);
      expect(podOf(manifests, service).metadata.labels).toMatchObject(spec.selector);
    }
  });

  it('network policies that let each service reach what it needs, and nothing else', async () => {
    const ports = async (values: Values, service: string) =>
      (find(await rendered(values), 'NetworkPolicy', service).spec.egress as Manifest[]).flatMap((rule) =>
        rule.ports.map(({ port }: Manifest) => port),
      );
    const dns = [53, 53];
    const pods = { example: 'pod-identity-values.yaml' };
    expect(await ports(pods, 'poller')).toEqual([...dns, 6379, 443, 80]);
    expect(await ports(pods, 'writer')).toEqual([...dns, 6379, 5432]);
    expect(await ports(pods, 'migrate')).toEqual([...dns, 5432]);
    // Tokens of RDS IAM are signed with credentials that come from AWS.
    expect(await ports({ example: 'irsa-values.yaml' }, 'writer')).toEqual([...dns, 6379, 5432, 443]);
    expect(await ports({ example: 'publisher-values.yaml' }, 'publisher')).toEqual([...dns, 5432, 443, 443]);
    const named = find(await rendered({ example: 'monitoring-values.yaml' }), 'NetworkPolicy', 'writer').spec;
    expect(named.egress).toContainEqual({
      ports: [{ port: 6432, protocol: 'TCP' }],
      to: [{ ipBlock: { cidr: '10.0.10.0/24' } }],
    });
    expect(named.ingress[0].from).toHaveLength(1);
    expect(all(await rendered({ example }), 'NetworkPolicy')).toEqual([]);
  });

  it('names that stay below 63 characters, whatever the release is called', async () => {
    const manifests = await rendered({ example, set: { fullnameOverride: 'x'.repeat(80) } });
    expect(Math.max(...manifests.map(({ metadata }) => metadata.name.length))).toBeLessThan(64);
  });

  it.for(EXAMPLES)('notes that say what to do next, with %s', async (one, { onTestFinished }) => {
    const chart = join(await mkdtemp(join(tmpdir(), 'chart-')), 'cognito-feed');
    onTestFinished(() => rm(join(chart, '..'), { recursive: true }));
    await cp(CHART, chart, { recursive: true });
    // `helm template` leaves the notes out, and `helm install --dry-run` wants a cluster.
    await rename(join(chart, 'templates/NOTES.txt'), join(chart, 'NOTES.tpl'));
    const wrapper =
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes, labels: {}}\ndata:\n  notes: {{ tpl (.Files.Get "NOTES.tpl") . | toJson }}\n';
    await writeFile(join(chart, 'templates/notes.yaml'), wrapper);
    const manifests = await rendered({ example: one, chart });
    const notes: string = manifests.find(({ metadata }) => metadata.name === 'notes').data.notes;
    expect(notes).toContain('cognito-feed status');
    expect(notes).toContain('nothing in Postgres is dropped');
    expect(notes).not.toMatch(/<no value>|%!|\n{3}|example@/);
    for (const name of notes.match(/(?<=(deployment|service)\/)[-\w]+/g) ?? []) {
      expect(manifests.map(({ metadata }) => metadata.name)).toContain(name);
    }
  });

  it('leaves out what nobody turned on', async () => {
    const text = await template({ example });
    expect(text).not.toMatch(/kind: (Secret|NetworkPolicy|ServiceMonitor|PrometheusRule|PodDisruptionBudget)/);
  });
});
