/** `sync` in this process, through its command function. */
import { sync } from '../services/cli/commands/sync.ts';
import type { Logger } from '../shared/log.ts';
import type { Settings } from '../shared/settings.ts';
import { Shutdown } from '../shared/shutdown.ts';

export interface Synced {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** @throws what the command throws, which the command line would turn into exit code 1 */
export async function syncHere(settings: Settings, log: Logger): Promise<Synced> {
  const shutdown = new Shutdown({ on: () => undefined, exit: () => undefined });
  let [stdout, stderr] = ['', ''];
  const code = await sync({
    settings,
    options: {},
    args: [],
    log,
    signal: shutdown.signal,
    shutdown,
    stdout: {
      write(text) {
        stdout += text;
      },
    },
    stderr: {
      write(text) {
        stderr += text;
      },
    },
    env: {},
  });
  return { code, stdout, stderr };
}
