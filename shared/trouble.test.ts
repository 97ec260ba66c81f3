import { expect, test } from 'vitest';
import { REPEAT_MS, Trouble } from './trouble.ts';

test('the same trouble is logged once a minute, whether or not it went away in between; another one at once', () => {
  const logged: string[] = [];
  let now = 0;
  const note = (_: object, line: string) => void logged.push(line);
  const trouble = new Trouble({ warn: note, error: note } as never, 'starting', () => now);
  expect(trouble.line).toBe('starting');
  const refused = Object.assign(new Error('secret'), { name: 'AccessDeniedException' });
  const throttled = Object.assign(new Error('secret'), { name: 'TooManyRequestsException' });
  for (now = 0; now < 3 * REPEAT_MS; now += 1_000) {
    trouble.met(refused, 'read the pool');
    expect(trouble.line).toMatch(/^could not read the pool: IAM does not allow/);
    trouble.over();
    expect(trouble.line).toBeNull();
  }
  expect(logged).toHaveLength(3);
  trouble.met(throttled, 'read the pool');
  expect(logged).toHaveLength(4);
  expect(logged.join()).not.toContain('secret');
});
