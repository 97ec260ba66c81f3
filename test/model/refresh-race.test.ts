/**
 * Refreshes and scans race for one user, whom the pool changes, deletes and makes anew and whose lists lag: RACE_RUNS interleavings of the services'
 * own code, with crashes and stopped processes. Invariants 1, 3, 4 and 5 are those of every run (quiet.ts, agreement-check.ts, observer.ts).
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Command } from './commands.ts';
import { Run } from './run.ts';

const runs = Number(process.env['RACE_RUNS'] ?? 400);
const username = fc.constantFrom('ann', 'ann', 'ann', 'bob');

const command = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({
      do: fc.constant('go'),
      steps: fc.integer({ min: 1, max: 25 }),
      seed: fc.nat(),
      only: fc.option(fc.nat(3), { freq: 2 }),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('user'),
      what: fc.constantFrom('create', 'update', 'quiet update', 'disable', 'delete', 'delete', 'recreate'),
      username,
    }),
  },
  { weight: 14, arbitrary: fc.record({ do: fc.constant('refresh'), username }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('scan'), sharded: fc.constant(false) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('lag'),
      ms: fc.constantFrom(0, 200, 5_000),
      hide: fc.option(username, { freq: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait'), ms: fc.constantFrom(700, 30_000) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('crash', 'stop', 'wake'), replica: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('redeliver'), job: fc.nat(5) }) },
) as fc.Arbitrary<Command>;

test(`Invariants 1, 3, 4 and 5 hold whichever of ${runs} ways refreshes and scans race`, { timeout: 0 }, async () => {
  const history = fc.array(command, { minLength: 8, maxLength: 50, size: 'max' });
  const property = fc.asyncProperty(history, async (commands) => {
    await new Run().play(commands);
  });
  const { failed, counterexample, errorInstance } = await fc.check(property, { numRuns: runs, seed: 7 });
  expect(failed ? { counterexample, errorInstance } : null).toBeNull();
});
