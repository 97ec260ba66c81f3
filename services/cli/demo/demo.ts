/**
 * The demo: an emulated pool is copied into a real Postgres, then lives on, and each of its changes is shown as it arrives. `--once` makes a
 * certain number of changes, compares mirror and pool row by row, and sums up.
 */
import { sleep } from '../../../shared/clock.ts';
import { createLog } from '../../../shared/log.ts';
import { withReleasers } from '../../../shared/releasers.ts';
import type { CommandContext } from '../command.ts';
import { grouped } from '../paint.ts';
import { runTogether } from '../together.ts';
import { Follower } from './follower.ts';
import { type Copied, live, once } from './life.ts';
import { Movement } from './movement.ts';
import { bar, Screen } from './screen.ts';
import { POLL_INTERVAL, REQUESTS_PER_SECOND, type Servers, startServers } from './servers.ts';

const USERS = 10_000;
const LOOK_EVERY_MS = 50;

export async function runDemo({ settings, options, env, stdout, log, shutdown }: CommandContext): Promise<number> {
  // Here the log is for what goes wrong, unless somebody asks for more.
  if ((env['LOG_LEVEL'] ?? '') === '') log.level = 'warn';
  const screen = new Screen(stdout, env);
  const done = shutdown.underWay('taking the demo down');
  let code = 0;
  try {
    await withReleasers(async (releasers) => {
      releasers.add('the last line', () => screen.status(''));
      screen.line();
      screen.line(`  ${screen.paint('bold', 'cognito-feed')}  a Cognito user pool as a Postgres table, kept current`);
      screen.line();
      screen.status('  starting Postgres and Redis …');
      const logLevel = (env['LOG_LEVEL'] ?? '') === '' ? undefined : settings.logLevel;
      const say = (line: string) => screen.line(`  ${line}`);
      const servers = await startServers(releasers, { given: settings, logLevel, say });
      const users = Number(options['users'] ?? USERS);
      servers.emulator.pool().fill(users);
      introduce(screen, servers, users);

      const stop = new AbortController();
      const signal = AbortSignal.any([shutdown.signal, stop.signal]);
      const feedLog = createLog({
        ...servers.settings,
        logFormat: settings.logFormat,
        to: { write: (line: string) => screen.through(line, (text) => process.stderr.write(text)) },
      });
      const startedAt = performance.now();
      const feed = runTogether(servers.settings, feedLog, signal);
      feed.catch(() => stop.abort());
      releasers.add('the feed', async () => {
        screen.status(shutdown.signal.aborted ? '  stopping, and removing everything …' : '  removing everything …');
        stop.abort();
        await feed;
      });
      const follower = new Follower(servers.postgres, servers.pool.poolId);
      const copied = await initialCopy(screen, servers, follower, startedAt, signal);
      if (copied === null) return;
      const life = { screen, servers, follower, copied, signal };
      code = options['once'] === true ? await once(life) : await live(life);
    });
  } finally {
    done();
  }
  if (shutdown.signal.aborted)
    screen.line(`  ${screen.paint('dim', 'stopped; servers, files and databases of the demo are gone')}`);
  return code;
}

function introduce(screen: Screen, { about, pool, psqlUrl }: Servers, users: number): void {
  const fact = (label: string, text: string) => screen.line(`  ${screen.paint('dim', label.padEnd(12))}  ${text}`);
  screen.status('');
  fact('Postgres', about.postgres);
  fact('Redis', about.redis);
  fact('pool', `${pool.poolId}, emulated in this process, ${grouped(users)} users`);
  fact('pace', `scans ${POLL_INTERVAL} apart, up to ${grouped(REQUESTS_PER_SECOND)} requests/s: fit for an emulator.`);
  fact('', 'A real pool is bounded by the quota of AWS, 1,800 users/s.');
  screen.line();
  screen.line(`  ${screen.paint('dim', 'See for yourself, in another terminal:')}`);
  screen.line(`  psql ${psqlUrl}`);
  screen.line('  select * from cognito.users limit 5;  select * from cognito_feed.status;');
  screen.line();
}

async function initialCopy(
  screen: Screen,
  { emulator }: Servers,
  follower: Follower,
  startedAt: number,
  signal: AbortSignal,
): Promise<Copied | null> {
  const total = emulator.pool().size;
  const movement = new Movement('the initial copy');
  for (;;) {
    if (signal.aborted) return null;
    const look = await follower.look();
    const seconds = (performance.now() - startedAt) / 1000;
    if (look?.state === 'streaming') {
      screen.status('');
      const rate = `${grouped(total / seconds)} users/s`;
      screen.line(
        `  initial copy  ${bar(1)}  ${grouped(total)} users  ${seconds.toFixed(1)} s  ${screen.paint('dim', rate)}`,
      );
      return { users: total, seconds };
    }
    const users = look?.users ?? 0;
    movement.at(String(users));
    screen.status(
      `  initial copy  ${bar(users / total)}  ${grouped(users)} of ${grouped(total)} users  ${seconds.toFixed(1)} s`,
    );
    await sleep(LOOK_EVERY_MS, signal);
  }
}
