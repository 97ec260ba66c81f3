/** The end of a run: the pool is quiet, everything lives; two scans later the books are compared. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { readAudit, readChangeLog, readMirror } from './audit.ts';
import { readHistory } from './history.ts';
import { type Finding, inOrder, keptAliveHonestly, logAgrees, mirrorEqualsPool, onceEach } from './judge.ts';
import type { World } from './world.ts';

export interface Verdict {
  readonly findings: readonly Finding[];
  readonly made: number;
  readonly applied: number;
  /** From the last harm to the end of the first scan that began after it. */
  readonly recoverySeconds: number;
}

const SCAN_MOST_MS = 150_000;

/** @param quietAt when the pool came to rest; it is well from then on */
export async function judge(world: World, quietAt: number): Promise<Verdict> {
  const { postgres, pool } = world;
  const findings: Finding[] = [];
  const first = await scanSince(world, quietAt);
  if (first === null) {
    findings.push({ check: 'a complete scan', evidence: `none in ${SCAN_MOST_MS} ms after the pool came to rest` });
  }
  const recoverySeconds = (Date.now() - quietAt) / 1000;
  const users = await pool.users();
  findings.push(...mirrorEqualsPool(await readMirror(postgres), users));
  const before = (await readAudit(postgres)).filter(({ op }) => op !== 'KEEPALIVE').length;
  if (first !== null && (await scanSince(world, first)) === null) {
    findings.push({ check: 'a complete scan', evidence: `no second one in ${SCAN_MOST_MS} ms` });
  }
  const audit = await readAudit(postgres);
  const changes = audit.filter(({ op }) => op !== 'KEEPALIVE');
  if (changes.length !== before) {
    findings.push({ check: 'silence', evidence: `the second scan made ${changes.length - before} changes` });
  }
  const history = readHistory(pool.history);
  findings.push(...onceEach(audit), ...inOrder(audit, history), ...keptAliveHonestly(audit, history));
  findings.push(
    ...logAgrees(await readChangeLog(postgres), audit),
    ...(await slotIsWell(world)),
    ...(await verify(world)),
  );
  for (const end of [...world.pollers, ...world.writers].flatMap(({ ownEnds }) => ownEnds))
    findings.push({ check: 'no service exits by itself', evidence: end });
  return { findings, made: history.made, applied: changes.length, recoverySeconds };
}

/** Waits for `as_of` to pass a time. @returns it; null where it does not */
async function scanSince({ postgres }: World, time: number): Promise<number | null> {
  const deadline = performance.now() + SCAN_MOST_MS;
  while (performance.now() < deadline) {
    const asOf = await postgres
      .query<{ at: number | null }>('select (extract(epoch from as_of) * 1000)::float8 as at from cognito_feed.slots')
      .then(
        ({ rows }) => rows[0]?.at ?? 0,
        () => 0,
      );
    if (asOf > time) return asOf;
    await sleep(100);
  }
  return null;
}

async function slotIsWell({ postgres }: World): Promise<Finding[]> {
  const { rows } = await postgres.query<{
    state: string;
    held_deletes: string;
    rejects: string;
    users: string;
    n: string;
  }>('select state, held_deletes, rejects, users, (select count(*) from cognito.users) as n from cognito_feed.status');
  const [slot] = rows;
  if (slot?.state === 'streaming' && slot.held_deletes === '0' && slot.rejects === '0' && slot.users === slot.n)
    return [];
  return [{ check: 'status', evidence: JSON.stringify(slot) }];
}

/** `verify --json`, where there is such a command. */
async function verify({ env }: World): Promise<Finding[]> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'services/cli/main.ts', 'verify', '--json'], {
    cwd: new URL('../..', import.meta.url).pathname,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (data) => {
    out += data;
  });
  child.stderr.on('data', (data) => {
    err += data;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code === 0 || (code === 2 && err.includes('unknown command'))) return [];
  return [{ check: 'verify', evidence: `exit ${code}: ${out}${err}`.slice(0, 2_000) }];
}
