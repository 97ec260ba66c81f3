/** What happens after the initial copy: a pool that lives, and a mirror that follows. */
import { sleep } from '../../../shared/clock.ts';
import { type ChurnStep, churn } from '../../../test/emulator/churn.ts';
import { grouped, spoken } from '../paint.ts';
import { compare, isEqual } from './comparison.ts';
import { type Follower, type Look, postgresAhead, redisAhead } from './follower.ts';
import { Movement } from './movement.ts';
import { bar, type Screen } from './screen.ts';
import type { Servers } from './servers.ts';
import { type Arrival, quantile, UnderWay } from './under-way.ts';

export interface Copied {
  readonly users: number;
  readonly seconds: number;
}

export interface Life {
  readonly screen: Screen;
  readonly servers: Servers;
  readonly follower: Follower;
  readonly copied: Copied;
  readonly signal: AbortSignal;
}

export const ONCE_CHANGES = 200;
const ONCE_PAUSE_MS = 40;
/** A quiet pool's changes, so that an eye can follow. */
const LIVE_PAUSE_MS = [250, 1_250] as const;
const LOOK_EVERY_MS = 60;
/** The latest ones count for the status line. */
const LATENCIES_MOST = 500;
/** Clocks are compared over a network. */
const CLOCK_MARGIN_MS = 50;

/** Until the signal. @returns the exit code */
export async function live(life: Life): Promise<number> {
  const { screen, signal } = life;
  const follow = await Following.begin(life);
  const latencies: number[] = [];
  screen.line();
  screen.line(screen.paint('dim', row(['time', 'in the pool', 'who', 'in the mirror', 'latency'])));
  const [least, most] = LIVE_PAUSE_MS;
  for (let nextAt = 0; !signal.aborted; ) {
    if (performance.now() >= nextAt) {
      follow.change();
      nextAt = performance.now() + least + Math.random() * (most - least);
    }
    const { look, arrivals } = await follow.look();
    for (const arrival of arrivals) {
      screen.line(shown(screen, arrival));
      latencies.push(arrival.latencyMs);
    }
    latencies.splice(0, latencies.length - LATENCIES_MOST);
    if (look !== null) screen.status(statusLine(look, latencies));
    await sleep(LOOK_EVERY_MS, signal);
  }
  return 0;
}

/** A certain number of changes, a comparison, a summary. @returns the exit code */
export async function once({ screen, servers, follower, copied, signal }: Life): Promise<number> {
  const follow = await Following.begin({ servers, follower });
  const latencies: number[] = [];
  const movement = new Movement('the mirror');
  for (let nextAt = performance.now(); follow.changes < ONCE_CHANGES || follow.underWay.size > 0; ) {
    if (signal.aborted) return 0;
    while (follow.changes < ONCE_CHANGES && performance.now() >= nextAt) {
      follow.change();
      nextAt += ONCE_PAUSE_MS;
    }
    const { arrivals } = await follow.look();
    latencies.push(...arrivals.map(({ latencyMs }) => latencyMs));
    movement.at(`${follow.changes} ${follow.underWay.size}`);
    const waiting = follow.changes < ONCE_CHANGES ? '' : `  waiting for the last ${follow.underWay.size}`;
    screen.status(
      `  changes       ${bar(follow.changes / ONCE_CHANGES)}  ${follow.changes} of ${ONCE_CHANGES}${waiting}`,
    );
    await sleep(LOOK_EVERY_MS, signal);
  }
  screen.status('  comparing row by row …');
  const comparison = await compare(servers.emulator.pool(), servers.postgres);
  screen.status('');
  const fact = (label: string, text: string) => screen.line(`  ${screen.paint('dim', label.padEnd(12))}  ${text}`);
  const { unseen } = follow.underWay;
  fact('users', grouped(comparison.users));
  fact('initial copy', `${copied.seconds.toFixed(1)} s, ${grouped(copied.users / copied.seconds)} users/s`);
  fact('changes', `${ONCE_CHANGES} made in the pool, all applied`);
  if (unseen > 0) fact('', `${unseen} of them fell between two scans with a later one of the same user`);
  fact(
    'latency',
    `median ${seconds(quantile(latencies, 0.5))}, p95 ${seconds(quantile(latencies, 0.95))}, from the change to the commit`,
  );
  if (isEqual(comparison)) {
    fact('comparison', screen.paint('green', `equal: ${grouped(comparison.users)} rows, column by column`));
    return 0;
  }
  const { missing, ghosts, different, examples } = comparison;
  fact('comparison', screen.paint('red', `not equal: ${missing} missing, ${ghosts} too many, ${different} different`));
  fact('', `among them ${examples.join(', ')}`);
  return 1;
}

/** Makes changes and follows them. */
class Following {
  readonly underWay = new UnderWay();
  changes = 0;
  readonly #steps: Generator<ChurnStep, never>;
  readonly #follower: Follower;
  readonly #postgresAheadMs: number;
  readonly #redisAheadMs: number;

  private constructor({ servers, follower }: Pick<Life, 'servers' | 'follower'>, ahead: readonly [number, number]) {
    const pool = servers.emulator.pool();
    this.#steps = churn(pool, { seed: pool.id.slice(-4).toLowerCase() });
    this.#follower = follower;
    [this.#postgresAheadMs, this.#redisAheadMs] = ahead;
  }

  static async begin(life: Pick<Life, 'servers' | 'follower'>): Promise<Following> {
    const { postgres, redis } = life.servers;
    return new Following(life, await Promise.all([postgresAhead(postgres), redisAhead(redis)]));
  }

  change(): void {
    const madeAt = Date.now();
    this.underWay.made(this.#steps.next().value, madeAt);
    this.changes++;
  }

  async look(): Promise<{ look: Look | null; arrivals: Arrival[] }> {
    const look = await this.#follower.look();
    const changes = look?.changes ?? [];
    const arrivals = changes.flatMap((change) => this.underWay.arrived(change, this.#postgresAheadMs) ?? []);
    if (look !== null && look.asOf !== null) this.underWay.applied(look.asOf - this.#redisAheadMs - CLOCK_MARGIN_MS);
    return { look, arrivals };
  }
}

const COLOURS = { read: 'green', insert: 'green', update: 'cyan', delete: 'red' } as const;
const PAST = { read: 'copied', insert: 'inserted', update: 'updated', delete: 'deleted' } as const;
const WHAT_COLUMNS = 25;

function shown({ paint }: Screen, { step, change, latencyMs }: Arrival): string {
  const time = new Date().toTimeString().slice(0, 8);
  const replaced = step.kind === 'reuse' ? 'deleted, ' : '';
  const what = change.op === 'update' ? changedOf(change.changed) : `${replaced}${PAST[change.op]}`;
  return row([time, step.kind, step.username, what, seconds(latencyMs)], (text) => paint(COLOURS[change.op], text));
}

/** Everything moves the date, and `email` is an attribute too: neither says more. */
function changedOf(changed: readonly string[]): string {
  const names = changed.filter((name) => name !== 'updated_at' && name !== 'attributes.email');
  return names.map((name) => name.replace(/^attributes\./, '')).join(', ') || 'updated';
}

function row(
  [time, kind, who, what, latency]: readonly [time: string, kind: string, who: string, what: string, latency: string],
  paintWhat = (text: string) => text,
): string {
  const left = `  ${time.padEnd(8)}  ${kind.padEnd(11)}  ${cut(who, 20).padEnd(20)}  `;
  return `${left}${paintWhat(cut(what, WHAT_COLUMNS).padEnd(WHAT_COLUMNS))}${latency.padStart(8)}`;
}

const cut = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, width - 1)}…`);

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

function statusLine({ users, asOf, lsn }: Look, latencies: readonly number[]): string {
  const parts = [
    `${grouped(users)} rows`,
    asOf === null ? 'no scan yet' : `as of ${spoken(Math.max(0, Date.now() - asOf) / 1000)} ago`,
    `LSN ${grouped(lsn)}`,
    latencies.length === 0 ? null : `median ${seconds(quantile(latencies, 0.5))}`,
    'Ctrl-C ends',
  ];
  return `  ${parts.filter((part) => part !== null).join(' · ')}`;
}
