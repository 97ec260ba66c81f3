/**
 * What README.md says is what the code says. `UPDATE_README=1 npx vitest run --project unit test/readme.test.ts` writes the generated sections anew.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { blocks, README, withSections } from './readme-blocks.ts';

test('its tables of commands, settings and errors are those of the code', () => {
  const text = readFileSync(README, 'utf8');
  const wanted = withSections(text);
  if (process.env['UPDATE_README'] === '1') writeFileSync(README, wanted);
  else expect(text).toBe(wanted);
});

test('every block says in which language it is, and every mark is one that the tests know', () => {
  const text = readFileSync(README, 'utf8');
  expect(text.match(/^```/gm)).toHaveLength(blocks().length * 2);
  for (const { language, mark } of blocks()) {
    expect(['sh', 'sql', 'json']).toContain(language);
    expect(['', 'needs AWS', 'not run: .ci/run does', 'runs until it is stopped']).toContain(mark);
  }
});

test('its policy is JSON and grants what is asked of Cognito, no more', () => {
  const [policy, ...others] = blocks().filter(({ language }) => language === 'json');
  expect(others).toEqual([]);
  const { Statement } = JSON.parse(policy?.code ?? '') as { Statement: { Action: string[] }[] };
  const asked = readFileSync(new URL('../shared/cognito.ts', import.meta.url), 'utf8').matchAll(/new (\w+)Command\(/g);
  const operations = new Set([...asked].map(([, operation]) => `cognito-idp:${operation}`));
  expect(new Set(Statement.flatMap(({ Action }) => Action))).toEqual(operations);
});

test('the files it links to are there', () => {
  const links = readFileSync(README, 'utf8').matchAll(/\]\(((?!https?:)[^)#]+)\)/g);
  for (const [, path = ''] of links) expect(existsSync(new URL(`../${path}`, import.meta.url)), path).toBe(true);
});
