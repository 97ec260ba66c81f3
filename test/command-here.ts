/** A command of the command line in this process, through its function. */
import type { Command } from '../services/cli/command.ts';
import { loadSettings } from '../shared/settings.ts';
import type { Env } from '../shared/settings-source.ts';
import { Shutdown } from '../shared/shutdown.ts';
import type { Feed } from './feed.ts';

export interface Done {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** @throws what the command throws, which the command line would turn into exit code 1 */
export async function commandHere(
  feed: Feed,
  command: Command,
  options: Readonly<Record<string, unknown>> = {},
  env: Env = {},
): Promise<Done> {
  const shutdown = new Shutdown({ on: () => undefined, exit: () => undefined });
  let [stdout, stderr] = ['', ''];
  const code = await command({
    settings: loadSettings({ ...feed.env, ...env }),
    options,
    args: [],
    log: feed.log,
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
