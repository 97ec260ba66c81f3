/** Where the machine's redis-server is; installed by apt where that is possible. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

const NAMES = ['redis-server', 'valkey-server'] as const;
const APT = '/usr/bin/apt-get';

/**
 * @param say gets the one line that announces an installation
 * @returns the path of redis-server or valkey-server
 * @throws Error in one line that says how to get it
 */
export async function findRedis(say: (line: string) => void = toStderr): Promise<string> {
  const found = await onPath();
  if (found !== undefined) return found;
  if (process.getuid?.() === 0 && (await executable(APT))) {
    say('redis-server is missing: installing it by apt-get (you are root on a Debian)');
    await apt(['update', '-qq']);
    await apt(['install', '-y', '-qq', '--no-install-recommends', 'redis-server']);
    const installed = await onPath();
    if (installed !== undefined) return installed;
  }
  throw new Error(
    'redis-server is missing: install Redis or Valkey so that redis-server or valkey-server is on the PATH ' +
      '(Debian, Ubuntu: `sudo apt-get install redis-server`; Fedora: `sudo dnf install valkey`; macOS: `brew install redis`)',
  );
}

async function onPath(): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    for (const name of NAMES) if (folder !== '' && (await executable(join(folder, name)))) return join(folder, name);
  }
  return undefined;
}

async function executable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function apt(args: readonly string[]): Promise<void> {
  const process_ = spawn(APT, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    // RUNLEVEL=1 keeps Debian's install script from starting a server of its own on port 6379.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  });
  const [code] = await once(process_, 'exit');
  if (code !== 0)
    throw new Error(`redis-server is missing, and \`apt-get ${args.join(' ')}\` failed: install it yourself`);
}

function toStderr(line: string): void {
  process.stderr.write(`${line}\n`);
}
