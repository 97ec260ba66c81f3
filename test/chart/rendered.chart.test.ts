/** Every example renders, passes Helm's linter, and is what Kubernetes understands. */
import { describe, expect, it } from 'vitest';
import { EXAMPLES, find, lint, type Manifest, rendered } from './helm.ts';
import { KubernetesSchema } from './kubernetes-schema.ts';

const schema = new KubernetesSchema();
const FULL = { example: 'monitoring-values.yaml', set: { 'publisher.enabled': true, 'config.eventBusName': 'users' } };

describe.concurrent('the chart', () => {
  it('passes helm lint --strict', async () => {
    await expect(lint()).resolves.toContain('0 chart(s) failed');
  });

  it.each(EXAMPLES)('passes helm lint --strict with %s', async (example) => {
    await expect(lint({ example })).resolves.toContain('0 chart(s) failed');
  });

  it.each(EXAMPLES)('renders with %s what Kubernetes understands', async (example) => {
    const manifests = await rendered({ example });
    expect(manifests.length).toBeGreaterThan(8);
    expect(manifests.flatMap((manifest) => schema.problems(manifest))).toEqual([]);
    const names = manifests.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(manifests.map(({ metadata }) => metadata.namespace))).toEqual(new Set(['users']));
  });

  it('has its monitoring understood by the Prometheus operator', async () => {
    const manifests = await rendered(FULL);
    const kinds = manifests.map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === 'ServiceMonitor')).toHaveLength(3);
    expect(kinds.filter((kind) => kind === 'PrometheusRule')).toHaveLength(1);
    expect(manifests.flatMap((manifest) => schema.problems(manifest))).toEqual([]);
  });

  it('is refused by the schema where it is wrong, so the schema looks', async () => {
    const manifests = await rendered(FULL);
    const broken = (kind: string, service: string, change: (manifest: Manifest) => void) => {
      const manifest = structuredClone(find(manifests, kind, service));
      change(manifest);
      return schema.problems(manifest).join('\n');
    };
    const container = (manifest: Manifest) => manifest.spec.template.spec.containers[0];
    expect(
      broken('Deployment', 'poller', (it) => {
        it.spec.replica = 2;
      }),
    ).toMatch('there is no field replica');
    expect(
      broken('Deployment', 'poller', (it) => {
        container(it).ports[0].containerPort = '9464';
      }),
    ).toMatch('containerPort: string, not integer');
    expect(
      broken('Deployment', 'writer', (it) => {
        delete it.spec.selector;
      }),
    ).toMatch('lacks selector');
    expect(
      broken('Deployment', 'writer', (it) => {
        container(it).ports.push({ ...container(it).ports[0] });
      }),
    ).toMatch('two with the same containerPort, protocol');
    expect(
      broken('Job', 'migrate', (it) => {
        container(it).env[0].value = null;
      }),
    ).toMatch('null');
    expect(
      broken('ServiceMonitor', 'poller', (it) => {
        it.spec.endpoints[0].intervall = '1m';
      }),
    ).toMatch('there is no field intervall');
    expect(
      broken('ServiceMonitor', 'poller', (it) => {
        it.spec.endpoints[0].interval = 'soon';
      }),
    ).toMatch('"soon" is not');
    expect(
      broken('PrometheusRule', 'alerts', (it) => {
        delete it.spec.groups[0].rules[0].expr;
      }),
    ).toMatch('lacks expr');
    expect(
      broken('Service', 'poller', (it) => {
        it.metadata.labels['app.kubernetes.io/version'] = 'a b';
      }),
    ).toMatch('label app.kubernetes.io/version');
    expect(
      broken('Service', 'poller', (it) => {
        it.apiVersion = 'v2';
      }),
    ).toMatch('there is no such kind');
  });
});
