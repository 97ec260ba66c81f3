/**
 * Invariants 1 to 6 of DESIGN.md over random interleavings of the services' own code: MODEL_RUNS of them, from MODEL_SEED. A failure prints its
 * steps, and the MODEL_PATH that leads there at once.
 */
import { expect, test } from 'vitest';
import { campaign } from './campaign.ts';

const runs = Number(process.env['MODEL_RUNS'] ?? 10_000);
const seed = Number(process.env['MODEL_SEED'] ?? 20_261_123);

test(`invariants 1 to 6 hold over ${runs} interleavings from seed ${seed}`, { timeout: 0 }, async () => {
  const { failure } = await campaign({ runs, seed, path: process.env['MODEL_PATH'] });
  expect(failure).toBeNull();
});
