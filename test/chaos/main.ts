/**
 * `npm run chaos -- --kills N --seed S`: two pollers and two writers, a real Redis and a real Postgres, and a pool that changes all the time and lies
 * in every way that it may (pool-process.ts says which). Processes are killed and stopped, servers too; Redis forgets, Postgres goes back to a backup.
 * Then everything is left alone, and what the database saw is compared with what the pool was (judge.ts says how). One line sums up; the exit
 * code is 0, or 1 with the evidence, the seed and the folder of the logs.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { withReleasers } from '../../shared/releasers.ts';
import { Random } from '../emulator/random.ts';
import { Harmer } from './harm.ts';
import { resyncsIn } from './logs.ts';
import { judge } from './verdict.ts';
import { startWorld, type World } from './world.ts';

const CHANGE_EVERY_MS = 40;
const EVIDENCE_MOST = 10;

interface Options {
  readonly kills: number;
  readonly seed: string;
  readonly users: number;
}

function optionsOf(argv: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...argv],
    options: { kills: { type: 'string' }, seed: { type: 'string' }, users: { type: 'string' } },
  });
  const kills = Number(values.kills ?? 30);
  const users = Number(values.users ?? 600);
  if (!Number.isInteger(kills) || kills < 0) throw new TypeError('--kills takes a whole number');
  if (!Number.isInteger(users) || users < 1) throw new TypeError('--users takes a whole number');
  return { kills, users, seed: values.seed ?? String(Date.now() % 1_000_000) };
}

const print = (line: string) => void process.stdout.write(`${line}\n`);

async function main(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  const logs = await mkdtemp(join(tmpdir(), 'chaos-logs-'));
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  const passed = await withReleasers(async (releasers) => {
    const world = await startWorld(options.seed, options.users, logs, releasers);
    return await run(options, world, interrupted.signal);
  });
  if (passed === true) await rm(logs, { recursive: true });
  else print(`logs: ${logs}`);
  return passed === null ? 130 : passed ? 0 : 1;
}

/** @returns whether it passed; null: it was interrupted */
async function run({ kills, seed }: Options, world: World, interrupted: AbortSignal): Promise<boolean | null> {
  const began = performance.now();
  const book: string[] = [];
  const say = (line: string) => void book.push(`${new Date().toISOString()} ${line}`);
  const harmer = new Harmer(world, seed, say);
  const weather = new Random(`${seed}/weather`);
  await world.pool.order({ order: 'churn', everyMs: CHANGE_EVERY_MS });
  const stormy = new AbortController();
  const lists = changeTheWeather(world, weather, stormy.signal);
  print(`chaos: seed ${seed}, ${kills} kills, ${world.logs}`);
  while (harmer.tally.kills < kills && !interrupted.aborted) await harmer.next();
  stormy.abort();
  await Promise.all([harmer.end(), lists]);
  say('the pool comes to rest');
  await world.pool.order({ order: 'churn', everyMs: null });
  const quietAt = await world.pool.order({ order: 'lists', are: 'well' });
  if (interrupted.aborted) return null;
  const { findings, made, applied, recoverySeconds } = await judge(world, quietAt);
  await writeFile(join(world.logs, 'harm.log'), `${book.join('\n')}\n`);
  const passed = findings.length === 0;
  for (const { check, evidence } of findings.slice(0, EVIDENCE_MOST)) print(`${check}: ${evidence}`);
  if (findings.length > EVIDENCE_MOST) print(`… and ${findings.length - EVIDENCE_MOST} more`);
  const { tally } = harmer;
  const restarts = [...world.pollers, ...world.writers].reduce((sum, { restarts: n }) => sum + n, 0);
  const resyncs = await resyncsIn(world.writers.map(({ log }) => log));
  print(
    `${passed ? 'PASSED' : 'FAILED'}: ${tally.kills} kills, ${tally.pauses} pauses, ${tally.flushes} flushes, ${tally.lostSeconds} lost seconds, ` +
      `${restarts} restarts of services and ${tally.restarts} of Postgres, ${tally.restores} restores, ` +
      `${made} changes made, ${applied} applied, ${resyncs} resyncs, well again after ${recoverySeconds.toFixed(1)} s, ` +
      `${((performance.now() - began) / 1000).toFixed(0)} s, seed ${seed}`,
  );
  return passed;
}

/** The lists lie for a while, and tell the truth for a while. */
async function changeTheWeather({ pool }: World, random: Random, stop: AbortSignal): Promise<void> {
  for (let lying = true; !stop.aborted; lying = !lying) {
    await pool.order({ order: 'lists', are: lying ? 'lying' : 'truthful' });
    await sleep((lying ? 8_000 : 4_000) + random.int(lying ? 14_000 : 8_000), undefined, { signal: stop }).catch(
      () => undefined,
    );
  }
}

process.exitCode = await main();
