/**
 * The model test for as long as one likes: `node --import tsx test/model/soak.ts [runs] [seed]`. Each thousand runs has a seed of its own, which is
 * printed; the first failure ends it.
 */
import { campaign } from './campaign.ts';

const ROUND = 1_000;

const [runs = '1000000', first = String(Date.now() % 1_000_000_000)] = process.argv.slice(2);
for (let done = 0; done < Number(runs); done += ROUND) {
  const seed = Number(first) + done / ROUND;
  const began = performance.now();
  const { failure } = await campaign({ runs: Math.min(ROUND, Number(runs) - done), seed });
  const perSecond = Math.round((ROUND * 1000) / (performance.now() - began));
  process.stdout.write(`seed ${seed}: ${failure ?? `held, ${perSecond} runs/s`}\n`);
  if (failure !== null) {
    process.exitCode = 1;
    break;
  }
}
