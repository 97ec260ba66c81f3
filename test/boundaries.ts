/**
 * Who may import whom, as ARCHITECTURE.md says it, and what keeps the pure middle pure. Checked by boundaries.test.ts over every file
 * of services/ and shared/.
 */
import { posix } from 'node:path';

/** Only the command line knows every service; it puts them together. */
const KNOWS_ALL_SERVICES = 'cli';

/** Packages that a service may not reach for: the poller holds no Postgres password, writer and publisher no permission on the pool. */
const FORBIDDEN_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  poller: ['pg', 'pg-copy-streams'],
  writer: ['@aws-sdk/client-cognito-identity-provider'],
  publisher: ['@aws-sdk/client-cognito-identity-provider'],
};

/** What a pure file may import besides other files of ours. `node:crypto` is there for hashes: its randomness is looked for below. */
const PURE_PACKAGES: readonly string[] = ['zod', 'node:crypto', 'node:buffer', 'node:util', 'node:path'];

/** Of these only what is named, which computes and nothing else. */
const PURE_NAMES: Readonly<Record<string, readonly string[]>> = {
  'node:net': ['BlockList', 'isIP', 'isIPv4', 'isIPv6'],
};

const IMPURE_WORDS: readonly (readonly [word: string, pattern: RegExp])[] = [
  ['Date.now', /\bDate\.now\b/],
  ['new Date()', /\bnew Date(?:\(\s*\)|(?!\s*\())/],
  ['performance', /\bperformance\.(?:now|timeOrigin)\b/],
  ['process', /\bprocess\.(?:env|hrtime|argv|stdout|stderr|on|exit|uptime|memoryUsage)\b/],
  ['a timer', /\b(?:setTimeout|setInterval|setImmediate)\b/],
  ['randomness', /\bMath\.random\b|\b(?:randomUUID|randomBytes|randomInt|randomFill|randomFillSync|getRandomValues)\b/],
  ['fetch', /\bfetch\(/],
];

/** Names that say nothing of what is in a file. */
const EMPTY_NAMES: readonly string[] = [
  'util',
  'utils',
  'helper',
  'helpers',
  'type',
  'types',
  'common',
  'misc',
  'index',
];

export interface Import {
  /** As it is written: `../shared/lsn.ts`, `pg`, `node:fs`. */
  readonly specifier: string;
  /** Whether nothing of it is left at run time. */
  readonly typeOnly: boolean;
  /** What stands in the braces, by the names that the other file gives them. */
  readonly names: readonly string[];
}

/** Every import, re-export and dynamic import of a file. */
export function importsOf(source: string): Import[] {
  const code = withoutComments(source);
  const statements = code.matchAll(
    /(?:^|[;\n])\s*(?:import|export)\s+(type\s)?([^'"`;()]*?\sfrom\s*)?['"]([^'"\n]+)['"]/g,
  );
  const calls = code.matchAll(/\b(?:import|require)\s*\(\s*['"`]([^'"`\n]+)['"`]/g);
  return [
    ...[...statements].map(([, type, clause = '', specifier = '']) => ({
      specifier,
      typeOnly: type !== undefined,
      names: namesIn(clause),
    })),
    ...[...calls].map(([, specifier = '']) => ({ specifier, typeOnly: false, names: [] })),
  ];
}

/** `a` and `b` of `{ a, b as c } from`; a default or `* as x` counts as the name `*`, for it gives everything. */
function namesIn(clause: string): string[] {
  const [before = '', braces = ''] = clause.replace(/\sfrom\s*$/, '').split(/[{}]/);
  const named = braces.split(',').map((name) => name.trim().replace(/\sas\s.*$/, ''));
  return [...(before.trim() === '' ? [] : ['*']), ...named.filter((name) => name !== '')];
}

/**
 * What is wrong with one file's imports.
 * @param path from the checkout's root, as `services/poller/scan.ts`
 */
export function brokenBoundaries(path: string, source: string): string[] {
  return importsOf(source).flatMap(({ specifier }) => {
    const reason = reasonAgainst(path, specifier);
    return reason === undefined ? [] : [`${path} imports ${specifier}: ${reason}`];
  });
}

function reasonAgainst(path: string, specifier: string): string | undefined {
  const service = serviceOf(path);
  if (!specifier.startsWith('.')) {
    const forbidden = FORBIDDEN_PACKAGES[service ?? '']?.includes(packageOf(specifier)) ?? false;
    return forbidden ? `services/${service} knows nothing of it` : undefined;
  }
  const target = resolveImport(path, specifier);
  const other = serviceOf(target);
  if (path.startsWith('shared/') && other !== undefined) return 'shared/ knows no service';
  if (service !== undefined && service !== KNOWS_ALL_SERVICES && other !== undefined && other !== service) {
    return 'services meet in Redis and Postgres, not in code';
  }
  if (target.startsWith('test/') && !mayImportTests(path)) return 'only the demo runs on test servers';
  return undefined;
}

function mayImportTests(path: string): boolean {
  return (
    path.startsWith('test/') ||
    path.endsWith('.test.ts') ||
    /^services\/cli\/(?:commands\/)?demo[^/]*(?:\/|\.ts$)/.test(path)
  );
}

/**
 * What is impure about one file: itself, or a file that it needs at run time.
 * @param read gives a file's source; only ever asked for files of ours
 */
export function impurities(path: string, read: (path: string) => string): string[] {
  const code = withoutComments(read(path));
  const words = IMPURE_WORDS.filter(([, pattern]) => pattern.test(code)).map(([word]) => `${path} uses ${word}`);
  return [...words, ...impureImports(path, read, new Set())];
}

function impureImports(path: string, read: (path: string) => string, seen: Set<string>): string[] {
  if (seen.has(path)) return [];
  seen.add(path);
  return importsOf(read(path)).flatMap(({ specifier, typeOnly, names }) => {
    if (typeOnly) return [];
    if (specifier.startsWith('.')) return impureImports(resolveImport(path, specifier), read, seen);
    const allowed = PURE_NAMES[specifier] ?? [];
    const pure =
      PURE_PACKAGES.includes(packageOf(specifier)) ||
      (names.length > 0 && names.every((name) => allowed.includes(name)));
    return pure ? [] : [`${path} imports ${specifier}`];
  });
}

/** Whether a file or folder name on the way says nothing of what is inside. */
export function hasEmptyName(path: string): boolean {
  return path.split('/').some((part) => EMPTY_NAMES.includes(part.replace(/\..*$/, '')));
}

export function resolveImport(path: string, specifier: string): string {
  return posix.join(posix.dirname(path), specifier);
}

function serviceOf(path: string): string | undefined {
  return /^services\/([^/]+)\//.exec(path)?.[1];
}

/** `pg` of `pg/lib/client`, `@aws-sdk/x` of `@aws-sdk/x/y`. */
function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

/** Comments may talk of anything. Strings are kept whole: imports are in them, and `//` too. */
function withoutComments(source: string): string {
  const token = /(['"])(?:\\.|(?!\1)[^\\\n])*\1|`(?:\\.|[^\\`])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
  return source.replace(token, (text) => (text.startsWith('/') ? ' ' : text));
}
