/**
 * A temporary folder for one server, with a watchdog that outlives us.
 *
 * A server that a SIGKILLed parent started would run for ever: no exit handler of ours runs then. So each folder has a small
 * shell process in a session of its own that waits on a pipe whose other end only we hold. However we die, the kernel closes
 * the pipe; the watchdog then kills what runs in the folder and removes it. The ordinary way out is the same one: `remove`
 * closes the pipe. If the watchdog dies too (a container killed as a whole), the next `makeFolder` sweeps.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readlinkSync } from 'node:fs';
import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/** The leading part of every folder's name; the sweep looks at nothing else. */
const PREFIX = 'cognito-feed-';

export interface ServerFolder {
  /** An absolute path. */
  readonly path: string;
  /** The folder's own name, unlike any other's: servers carry it in their command line, so that they can be told. */
  readonly tag: string;
  /** Says which process runs here, for the watchdog; to be called after each start. */
  setPid(pid: number): Promise<void>;
  /** Kills what still runs here and removes the folder. Can be called twice. */
  remove(): Promise<void>;
}

/**
 * @param kind what will run there, for the folder's name
 * @param lastSignal what the watchdog sends first: Postgres frees its shared memory at SIGQUIT; most want SIGKILL at once
 */
export async function makeFolder(kind: string, lastSignal: 'QUIT' | 'KILL'): Promise<ServerFolder> {
  await sweep();
  const path = await mkdtemp(join(tmpdir(), `${PREFIX}${kind}-`));
  const tag = basename(path);
  await writeFile(join(path, 'tag'), `${tag}\n`);
  await writeFile(join(path, 'signal'), lastSignal);
  await writeFile(join(path, 'owner'), ownIdentity());
  const watchdog = startWatchdog(path, 'pipe');
  // Neither the watchdog nor the pipe may keep this process from ending: its end is what they wait for.
  watchdog.unref();
  (watchdog.stdin as unknown as { unref(): void }).unref();
  return {
    path,
    tag,
    async setPid(pid) {
      await writeFile(join(path, 'pid'), `${pid} ${startTime(pid)}\n`);
    },
    async remove() {
      if (watchdog.exitCode !== null || watchdog.signalCode !== null) return;
      watchdog.ref();
      const exited = once(watchdog, 'exit');
      watchdog.stdin?.end();
      await exited;
    },
  };
}

/** Removes the folders whose owner has gone and whose watchdog has gone with it. */
async function sweep(): Promise<void> {
  const names = (await readdir(tmpdir())).filter((name) => name.startsWith(PREFIX));
  await Promise.all(
    names.map(async (name) => {
      const path = join(tmpdir(), name);
      const owner = await readFile(join(path, 'owner'), 'utf8').catch(() => undefined);
      // Without the file it is not ours, or is being made or removed at this moment.
      if (owner === undefined || isRunning(owner)) return;
      await once(startWatchdog(path, 'ignore'), 'exit');
    }),
  );
}

/**
 * Members are found by the pid file (with the process's start time, for pids are used again) and, for Postgres, by the folder's
 * name in the command line: its backends outlive a SIGKILLed postmaster when they are stopped. The name comes from a
 * file, so that neither this shell nor its grep has it on their own command line.
 */
const WATCHDOG = `
cd "$FOLDER" || exit 0
cat >/dev/null
members() {
  if read -r pid started <pid; then
    now=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)
    if [ ! -d /proc/self ] || [ "$now" = "$started" ]; then kill -0 "$pid" && echo "$pid"; fi
  fi
  for file in $(grep -lsFf tag /proc/[0-9]*/cmdline); do
    folder=\${file%/cmdline}
    case "$(cat "$folder/comm")" in postgres|initdb) echo "\${folder#/proc/}" ;; esac
  done
}
send() { for pid in $(members); do kill -s "$1" "$pid"; done; }
signal=$(cat signal)
send "$signal"
send CONT
tries=0
while [ "$signal" != KILL ] && [ $tries -lt 60 ] && [ -n "$(members)" ]; do sleep 0.05; tries=$((tries + 1)); done
send KILL
tries=0
while [ $tries -lt 60 ] && [ -n "$(members)" ]; do sleep 0.05; tries=$((tries + 1)); done
segment=$(sed -n '7s/.* //p' data/postmaster.pid)
[ -z "$segment" ] || ipcrm -m "$segment"
cd /
rm -rf "$FOLDER"
`;

function startWatchdog(path: string, stdin: 'pipe' | 'ignore'): ChildProcess {
  return spawn('/bin/sh', ['-c', WATCHDOG], {
    // A session of its own: Ctrl-C in the terminal must not reach it before us.
    detached: true,
    stdio: [stdin, 'ignore', 'ignore'],
    env: { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin', FOLDER: path },
  });
}

/** Who we are, in words that no later process can share: pid namespace, pid and start time. */
function ownIdentity(): string {
  return `${pidNamespace()} ${process.pid} ${startTime(process.pid)}`;
}

function isRunning(owner: string): boolean {
  const [namespace, pid, started] = owner.split(' ');
  // Another container's processes can't be seen from here, its folders (in a shared /tmp) can.
  if (namespace !== pidNamespace()) return true;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return startTime(Number(pid)) === started;
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return 'none';
  }
}

/** In the kernel's ticks since boot; empty where there is no /proc or no such process. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may itself hold spaces and parentheses.
    return stat.slice(stat.lastIndexOf(') ') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
