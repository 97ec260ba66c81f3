/** The processes of one Postgres: its postmaster, and the backends that may outlive it. */
import { readdirSync, readFileSync } from 'node:fs';
import { platform } from 'node:os';

/**
 * @param tag the cluster's name: it is in the title of each of its processes, which everyone may read, root or not
 * @param postmaster where it runs
 */
export function processesOf(tag: string, postmaster: number | undefined): number[] {
  const first = postmaster === undefined ? [] : [postmaster];
  if (platform() !== 'linux') return first;
  const others = readdirSync('/proc').filter(
    (name) => /^\d+$/.test(name) && Number(name) !== postmaster && isMember(name, tag),
  );
  return [...first, ...others.map(Number)];
}

function isMember(pid: string, tag: string): boolean {
  try {
    return (
      readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'postgres' &&
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(tag)
    );
  } catch {
    // It has ended since we saw it.
    return false;
  }
}

/** Those that have ended meanwhile are passed over. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}
