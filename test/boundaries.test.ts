/** Lint for the architecture: see boundaries.ts for the rules. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { brokenBoundaries, hasEmptyName, importsOf, impurities } from './boundaries.ts';

/**
 * The pure middle: no I/O, no clock, no randomness; what they need of those is an argument. A file whose first comment says "Pure" belongs
 * here; one that moves is moved here too.
 */
const PURE_FILES = [
  'services/cli/demo/under-way.ts',
  'services/cli/eventbridge/event-rule.ts',
  'services/cli/status/table.ts',
  'services/cli/status/warnings.ts',
  'services/cli/verify/differences.ts',
  'services/cli/verify/pile.ts',
  'services/poller/cloudtrail-event.ts',
  'services/poller/diff.ts',
  'services/poller/hint-body.ts',
  'services/poller/hint.ts',
  'services/poller/look-verdict.ts',
  'services/publisher/backlog.ts',
  'services/publisher/event-entry.ts',
  'services/publisher/filter.ts',
  'services/publisher/lanes.ts',
  'services/publisher/retry-schedule.ts',
  'services/publisher/webhook-message.ts',
  'services/writer/copy.ts',
  'services/writer/decide.ts',
  'services/writer/learned.ts',
  'services/writer/rivals.ts',
  'shared/change.ts',
  'shared/duration.ts',
  'shared/error-table.ts',
  'shared/fingerprint.ts',
  'shared/guard.ts',
  'shared/keys.ts',
  'shared/lsn.ts',
  'shared/private-address.ts',
  'shared/settings-reference.ts',
  'shared/settings-together.ts',
  'shared/settings-values.ts',
  'shared/sqs-address.ts',
  'shared/user.ts',
];

const ROOT = new URL('../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), 'utf8');
const filesOf = (folder: string) =>
  readdirSync(fileURLToPath(new URL(folder, ROOT)), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`);

const code = [...filesOf('services'), ...filesOf('shared')].sort();

/** In its first comment, which is about the file. */
const callsItselfPure = (source: string) => /^\/\*\*(?:(?!\*\/)[\s\S])*\bPure[.:;]/.test(source);

describe('this checkout', () => {
  test('has no import across a boundary', () => {
    expect(code.length).toBeGreaterThan(0);
    expect(code.flatMap((path) => brokenBoundaries(path, read(path)))).toEqual([]);
  });

  test.each(PURE_FILES)('%s is pure', (path) => {
    expect(code).toContain(path);
    expect(impurities(path, read)).toEqual([]);
  });

  test('has every file that calls itself pure on the list of those that must be', () => {
    expect(code.filter((path) => callsItselfPure(read(path)))).toEqual(
      PURE_FILES.filter((path) => callsItselfPure(read(path))),
    );
  });

  test('has no file whose name says nothing', () => {
    expect([...code, ...filesOf('test')].filter(hasEmptyName)).toEqual([]);
  });
});

describe('the rules', () => {
  test.each([
    ['services/poller/scan.ts', '../writer/apply.ts'],
    ['services/publisher/lane.ts', '../cli/main.ts'],
    ['shared/redis.ts', '../services/writer/slot.ts'],
    ['services/poller/scan.ts', 'pg'],
    ['services/poller/scan.ts', 'pg-copy-streams'],
    ['services/poller/deep/down.ts', 'pg/lib/client.js'],
    ['services/writer/apply.ts', '@aws-sdk/client-cognito-identity-provider'],
    ['services/publisher/lane.ts', '@aws-sdk/client-cognito-identity-provider'],
    ['services/writer/apply.ts', '../../test/servers/redis.ts'],
    ['services/cli/status.ts', '../../test/servers/redis.ts'],
    ['services/cli/not-demo.ts', '../../test/servers/redis.ts'],
    ['shared/redis.ts', '../test/servers/redis.ts'],
  ])('%s may not import %s', (path, specifier) => {
    for (const statement of [
      `import { x } from '${specifier}';`,
      `import type { X } from '${specifier}';`,
      `import '${specifier}';`,
      `import * as x\n  from "${specifier}"`,
      `import {\n  x, // a comment\n  y,\n} from '${specifier}';`,
      `export * from '${specifier}';`,
      `export { x } from '${specifier}';`,
      `const x = await import('${specifier}');`,
    ]) {
      expect(brokenBoundaries(path, `/** Doc. */\nconst before = "it's";\n${statement}\n`), statement).toHaveLength(1);
    }
  });

  test.each([
    ['services/cli/run.ts', '../writer/writer.ts'],
    ['services/cli/demo.ts', '../../test/servers/redis.ts'],
    ['services/cli/demo-churn.ts', '../../test/emulator/pool.ts'],
    ['services/cli/commands/demo.ts', '../../../test/servers/redis.ts'],
    ['services/cli/demo/churn.ts', '../../../test/emulator/pool.ts'],
    ['services/poller/diff.test.ts', '../../test/users.ts'],
    ['services/poller/scan.ts', './diff.ts'],
    ['services/poller/scan.ts', '../../shared/user.ts'],
    ['services/poller/scan.ts', '@aws-sdk/client-cognito-identity-provider'],
    ['services/writer/apply.ts', 'pg'],
    ['services/publisher/bus.ts', '@aws-sdk/client-cloudwatch-events'],
  ])('%s may import %s', (path, specifier) => {
    expect(brokenBoundaries(path, `import { x } from '${specifier}';`)).toEqual([]);
  });

  test('what a comment says is no import', () => {
    expect(importsOf(`// import 'pg';\n/* import { x } from 'pg'; */\nconst url = 'http://x'; // 'quoted'\n`)).toEqual(
      [],
    );
  });

  const pure = (source: string, others: Record<string, string> = {}) =>
    impurities('shared/x.ts', (path) => ({ 'shared/x.ts': source, ...others })[path] ?? '');

  test.each([
    'Date.now()',
    'new Date()',
    'new Date',
    'performance.now()',
    'Math.random()',
    'crypto.randomUUID()',
    'randomBytes(8)',
    'process.env["X"]',
    'setTimeout(f, 1)',
  ])('a pure file may not use %s', (expression) => {
    expect(pure(`export const x = () => ${expression};`)).toHaveLength(1);
    expect(pure(`// ${expression}\nexport const x = 1;`)).toEqual([]);
  });

  test('a pure file may make a date of a given time', () => {
    expect(pure('export const x = (ms: number) => new Date(ms).toISOString();')).toEqual([]);
  });

  test('a pure file may import no door, not even through another file, except for its types', () => {
    expect(pure(`import { readFile } from 'node:fs/promises';`)).toHaveLength(1);
    expect(pure(`import { y } from './y.ts';`, { 'shared/y.ts': `import { Redis } from 'ioredis';` })).toHaveLength(1);
    expect(pure(`import type { Y } from './y.ts';`, { 'shared/y.ts': `import { Redis } from 'ioredis';` })).toEqual([]);
    expect(pure(`import { y } from './y.ts';`, { 'shared/y.ts': `import { x } from './x.ts';` })).toEqual([]);
    expect(pure(`import { isIP } from 'node:net';`)).toEqual([]);
    expect(pure(`import { isIP, connect as c } from 'node:net';`)).toHaveLength(1);
    expect(pure(`import net from 'node:net';`)).toHaveLength(1);
    expect(pure(`import { createHash } from 'node:crypto'; import { z } from 'zod';`)).toEqual([]);
  });

  test.each([
    'shared/utils.ts',
    'services/poller/types.ts',
    'test/helpers/x.ts',
    'shared/common.test.ts',
    'shared/index.ts',
  ])('%s is no name', (path) => {
    expect(hasEmptyName(path)).toBe(true);
    expect(hasEmptyName('services/poller/scan.ts')).toBe(false);
  });
});
