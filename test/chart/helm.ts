/** Helm, run over the chart; and what it renders. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parse, parseAllDocuments } from 'yaml';
import { HELM_PATH, KUBERNETES } from './tools.ts';

const run = promisify(execFile);

export const CHART = fileURLToPath(new URL('../../helm/cognito-feed/', import.meta.url));
/** The example values, without their folder. */
export const EXAMPLES: readonly string[] = readdirSync(`${CHART}ci`).toSorted();
export const RELEASE = 'feed';
export const NAMESPACE = 'users';

// A manifest is whatever the templates made of it: its schema is checked at run time, not here.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Manifest = any;

export interface Values {
  /** One of EXAMPLES. */
  readonly example?: string;
  /** As `--set` writes them. */
  readonly set?: Readonly<Record<string, string | number | boolean>>;
  /** As `--set-json` writes them. */
  readonly json?: Readonly<Record<string, unknown>>;
  /** Another chart than ours. */
  readonly chart?: string;
}

function flags({ example, set = {}, json = {} }: Values): string[] {
  return [
    ...(example === undefined ? [] : ['--values', `${CHART}ci/${example}`]),
    ...Object.entries(set).flatMap(([path, value]) => ['--set', `${path}=${value}`]),
    ...Object.entries(json).flatMap(([path, value]) => ['--set-json', `${path}=${JSON.stringify(value)}`]),
  ];
}

/** @throws Error with what Helm said */
export async function helm(...args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run(HELM_PATH, args, { maxBuffer: 16 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${stdout}${stderr}`);
  }
}

export const lint = (values: Values = {}): Promise<string> =>
  helm('lint', '--strict', '--kube-version', KUBERNETES, values.chart ?? CHART, ...flags(values));

const templates = new Map<string, Promise<string>>();

/** As text; each set of values once. */
export function template(values: Values): Promise<string> {
  const key = JSON.stringify(values);
  const known = templates.get(key) ?? templateAnew(values);
  templates.set(key, known);
  return known;
}

const templateAnew = (values: Values): Promise<string> =>
  helm(
    ...['template', RELEASE, values.chart ?? CHART, '--namespace', NAMESPACE, '--kube-version', KUBERNETES],
    ...flags(values),
  );

/** What would be applied, as objects. */
export async function rendered(values: Values): Promise<Manifest[]> {
  const documents = parseAllDocuments(await template(values), { strict: true, uniqueKeys: true });
  return documents.map((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    return document.toJS();
  });
}

/** Why Helm refuses these values; undefined: it doesn't. */
export const refusal = (values: Values): Promise<string | undefined> =>
  template(values).then(
    () => undefined,
    (error: Error) => error.message,
  );

export function find(manifests: readonly Manifest[], kind: string, service?: string): Manifest {
  const [one, ...others] = all(manifests, kind, service);
  if (one === undefined || others.length > 0) throw new Error(`${1 + others.length} ${kind} of ${service}`);
  return one;
}

export const all = (manifests: readonly Manifest[], kind: string, service?: string): Manifest[] =>
  manifests.filter(
    (it) =>
      it.kind === kind && (service === undefined || it.metadata.labels['app.kubernetes.io/component'] === service),
  );

/** The pod template of a service, or of the migrate job. */
export const podOf = (manifests: readonly Manifest[], service: string): Manifest =>
  find(manifests, service === 'migrate' ? 'Job' : 'Deployment', service).spec.template;

/** Every pod template there is, with its service's name. */
export const pods = (manifests: readonly Manifest[]): { service: string; pod: Manifest }[] =>
  [...all(manifests, 'Deployment'), ...all(manifests, 'Job')].map((it) => ({
    service: it.metadata.labels['app.kubernetes.io/component'],
    pod: it.spec.template,
  }));

/** COGNITO_FEED_CONFIG of a service. */
export const configOf = (manifests: readonly Manifest[], service: string): Manifest =>
  parse(find(manifests, 'ConfigMap', service).data['config.yaml']);

export const environmentOf = (pod: Manifest): Map<string, Manifest> =>
  new Map(pod.spec.containers[0].env.map((variable: Manifest) => [variable.name, variable]));
