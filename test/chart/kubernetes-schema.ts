/**
 * Manifests against Kubernetes' own OpenAPI and the operator's CRDs, as strictly as `kubectl apply --validate=strict`: a field that the API
 * doesn't know is a mistake, not an extension. Only what those two documents use of JSON Schema is understood; the rest is refused, not skipped.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { Manifest } from './helm.ts';
import { KUBERNETES_SCHEMA, operatorSchema } from './tools.ts';

type Schema = Readonly<Record<string, Manifest>>;

/** What says nothing that is checked here. */
const SILENT = new Set([
  ...['description', 'default', 'format', 'title', 'x-kubernetes-group-version-kind', 'x-kubernetes-unions'],
  ...[
    'x-kubernetes-patch-strategy',
    'x-kubernetes-patch-merge-key',
    'x-kubernetes-map-type',
    'x-kubernetes-validations',
  ],
]);
const CHECKED = new Set([
  ...[
    '$ref',
    'type',
    'properties',
    'additionalProperties',
    'required',
    'items',
    'enum',
    'pattern',
    'minLength',
    'maxLength',
  ],
  ...['minimum', 'maximum', 'minItems', 'maxItems', 'minProperties', 'anyOf', 'oneOf', 'allOf', 'nullable'],
  ...['x-kubernetes-list-type', 'x-kubernetes-list-map-keys', 'x-kubernetes-int-or-string'],
  'x-kubernetes-preserve-unknown-fields',
]);

export class KubernetesSchema {
  readonly #definitions: Readonly<Record<string, Schema>>;
  readonly #roots = new Map<string, Schema>();

  constructor() {
    const { definitions } = JSON.parse(readFileSync(KUBERNETES_SCHEMA, 'utf8')) as {
      definitions: Record<string, Schema>;
    };
    this.#definitions = definitions;
    for (const schema of Object.values(definitions)) {
      for (const { group, version, kind } of schema['x-kubernetes-group-version-kind'] ?? []) {
        this.#roots.set(`${group === '' ? version : `${group}/${version}`} ${kind}`, schema);
      }
    }
    for (const name of ['servicemonitors', 'prometheusrules'] as const) {
      const { spec } = parse(readFileSync(operatorSchema(name), 'utf8')) as Manifest;
      for (const version of spec.versions)
        this.#roots.set(`${spec.group}/${version.name} ${spec.names.kind}`, version.schema.openAPIV3Schema);
    }
  }

  /** Everything that is wrong with a manifest, each with its path. */
  problems(manifest: Manifest): string[] {
    const kind = `${manifest?.apiVersion} ${manifest?.kind}`;
    const schema = this.#roots.get(kind);
    if (schema === undefined) return [`${kind}: there is no such kind`];
    const found: string[] = [];
    const place = `${manifest.kind} ${manifest.metadata?.name}`;
    this.#check(schema, manifest, place, found);
    // A CRD leaves the metadata to the API server.
    this.#check(
      { $ref: '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' },
      manifest.metadata,
      place,
      found,
    );
    found.push(...namesOf(manifest).map((problem) => `${place}: ${problem}`));
    return found;
  }

  #check(schema: Schema, value: Manifest, place: string, found: string[]): void {
    for (const word of Object.keys(schema))
      if (!SILENT.has(word) && !CHECKED.has(word)) throw new Error(`${place}: the schema's ${word} is not understood`);
    const reference = schema['$ref'] as string | undefined;
    if (reference !== undefined) {
      const target = this.#definitions[reference.replace('#/definitions/', '')];
      if (target === undefined) throw new Error(`${reference} is missing`);
      this.#check(target, value, place, found);
      return;
    }
    if (value === null) {
      if (schema['nullable'] !== true) found.push(`${place}: null`);
      return;
    }
    for (const one of schema['allOf'] ?? []) this.#check(one, value, place, found);
    const choices: Schema[] = schema['anyOf'] ?? schema['oneOf'] ?? [];
    if (choices.length > 0 && choices.every((choice) => this.#fails(choice, value)))
      found.push(`${place}: no alternative`);
    if (!isOf(schema, value)) {
      found.push(
        `${place}: ${Array.isArray(value) ? 'a list' : typeof value}, not ${schema['type'] ?? schema['format']}`,
      );
      return;
    }
    checkScalar(schema, value, place, found);
    if (Array.isArray(value)) this.#checkList(schema, value, place, found);
    else if (typeof value === 'object') this.#checkObject(schema, value, place, found);
  }

  #fails(schema: Schema, value: Manifest): boolean {
    const found: string[] = [];
    this.#check(schema, value, '', found);
    return found.length > 0;
  }

  #checkList(schema: Schema, value: readonly Manifest[], place: string, found: string[]): void {
    value.forEach((item, i) => {
      this.#check(schema['items'] ?? {}, item, `${place}[${i}]`, found);
    });
    const keys = schema['x-kubernetes-list-map-keys'] as readonly string[] | undefined;
    if (keys === undefined) return;
    const identities = value.map((item) => JSON.stringify(keys.map((key) => item[key])));
    if (new Set(identities).size < identities.length) found.push(`${place}: two with the same ${keys.join(', ')}`);
  }

  #checkObject(schema: Schema, value: Readonly<Record<string, Manifest>>, place: string, found: string[]): void {
    const { properties, additionalProperties, required = [] } = schema as Manifest;
    for (const name of required) if (value[name] === undefined) found.push(`${place}: lacks ${name}`);
    const open = properties === undefined || schema['x-kubernetes-preserve-unknown-fields'] === true;
    for (const [name, item] of Object.entries(value)) {
      const own = properties?.[name];
      if (own !== undefined) this.#check(own, item, `${place}.${name}`, found);
      else if (typeof additionalProperties === 'object')
        this.#check(additionalProperties, item, `${place}.${name}`, found);
      else if (!open) found.push(`${place}: there is no field ${name}`);
    }
  }
}

function isOf(schema: Schema, value: Manifest): boolean {
  if (schema['x-kubernetes-int-or-string'] === true || schema['format'] === 'int-or-string')
    return Number.isInteger(value) || typeof value === 'string';
  switch (schema['type']) {
    case 'string':
      return typeof value === 'string';
    case 'integer':
      return Number.isInteger(value);
    case 'number':
      return typeof value === 'number';
    case 'boolean':
      return typeof value === 'boolean';
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && !Array.isArray(value);
    default:
      return true;
  }
}

function checkScalar(schema: Schema, value: Manifest, place: string, found: string[]): void {
  const fail = (why: string) => void found.push(`${place}: ${JSON.stringify(value)} ${why}`);
  const {
    enum: words,
    pattern,
    minimum,
    maximum,
    minLength,
    maxLength,
    minItems,
    maxItems,
    minProperties,
  } = schema as Manifest;
  if (words !== undefined && !words.includes(value)) fail(`is none of ${words.join(', ')}`);
  if (pattern !== undefined && typeof value === 'string' && !new RegExp(pattern).test(value)) fail(`is not ${pattern}`);
  if (minimum !== undefined && value < minimum) fail(`is below ${minimum}`);
  if (maximum !== undefined && value > maximum) fail(`is above ${maximum}`);
  if (minLength !== undefined && value.length < minLength) fail('is too short');
  if (maxLength !== undefined && value.length > maxLength) fail('is too long');
  if (minItems !== undefined && value.length < minItems) fail('has too few');
  if (maxItems !== undefined && value.length > maxItems) fail('has too many');
  if (minProperties !== undefined && Object.keys(value).length < minProperties) fail('has too few');
}

/** What the OpenAPI doesn't say: how long names and labels may be, and of what. */
function namesOf({ metadata }: Manifest): string[] {
  const problems: string[] = [];
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(metadata?.name ?? '')) problems.push('its name is no DNS label');
  for (const [name, text] of Object.entries<string>(metadata?.labels ?? {})) {
    if (!/^(([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$/.test(text)) problems.push(`label ${name} is ${JSON.stringify(text)}`);
  }
  return problems;
}
