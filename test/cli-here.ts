/** The whole command line in this process: arguments and environment in, exit code and output out. */
import { runCli } from '../services/cli/cli.ts';
import type { Env } from '../shared/settings-source.ts';
import { Shutdown } from '../shared/shutdown.ts';
import type { Done } from './command-here.ts';

export interface CliHere {
  readonly done: Promise<Done>;
  stop(): void;
}

/** Its log goes to this process's stderr, as a command's does: keep LOG_LEVEL high. */
export function startCli(argv: readonly string[], env: Env): CliHere {
  const shutdown = new Shutdown({ on: () => undefined, exit: () => undefined });
  let [stdout, stderr] = ['', ''];
  const code = runCli({
    argv,
    env,
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
  });
  return { done: code.then((it) => ({ code: it, stdout, stderr })), stop: () => shutdown.begin('the test') };
}

export const cliHere = (argv: readonly string[], env: Env): Promise<Done> => startCli(argv, env).done;
