/** Many runs from one seed. What fails is shortened by fast-check and told step by step. */
import fc from 'fast-check';
import { type Command, history, told } from './commands.ts';
import { QUIET, Run } from './run.ts';

export interface Campaign {
  readonly runs: number;
  readonly seed: number;
  /** Where an earlier campaign from this seed has failed. */
  readonly path?: string | undefined;
  /** Whether to look for the shortest way there. */
  readonly shorten?: boolean;
}

export interface Outcome {
  /** Runs until the first failure, or all. */
  readonly runs: number;
  /** null: all invariants held. Else what is wrong, the way there, and how to go it again. */
  readonly failure: string | null;
}

/** Steps before the failure, or before and after it became quiet. */
const STEPS_TOLD = 150;

export async function campaign({ runs, seed, path, shorten = true }: Campaign): Promise<Outcome> {
  const property = fc.asyncProperty(history, async (one) => {
    await new Run().play(told(one));
  });
  const result = await fc.check(property, {
    numRuns: runs,
    seed,
    endOnFailure: !shorten,
    ...(path === undefined ? {} : { path }),
  });
  const { failed, counterexample, counterexamplePath, numRuns } = result;
  if (!failed || counterexample === null) return { runs: numRuns, failure: null };
  return {
    runs: numRuns,
    failure: `${await retold(told(counterexample[0]))}\nafter ${numRuns} runs; again: MODEL_SEED=${seed} MODEL_PATH=${counterexamplePath}`,
  };
}

async function retold(commands: readonly Command[]): Promise<string> {
  const run = new Run();
  const lines: string[] = [];
  run.world.scheduler.trace = (line) => lines.push(line);
  try {
    await run.play(commands);
    return 'it failed once, and not again: something in the run is not told by its seed';
  } catch (error) {
    const quiet = lines.indexOf(QUIET);
    const most =
      quiet < 0 ? lines.slice(-STEPS_TOLD) : lines.slice(Math.max(0, quiet - STEPS_TOLD), quiet + STEPS_TOLD);
    return `${most.join('\n')}\n${error instanceof Error ? error.stack : String(error)}`;
  }
}
