/**
 * From a command line to an exit code: usage and settings are refused (2) before anything connects; a failure (1) is one plain line.
 */
import { readFileSync } from 'node:fs';
import { CommanderError } from 'commander';
import { classify, oneLine, safeError, UserFacingError } from '../../shared/errors.ts';
import { createLog, type Logger, maskUrls } from '../../shared/log.ts';
import { loadSettings, type Needs, type Settings, SettingsError } from '../../shared/settings.ts';
import { settingsHelp } from '../../shared/settings-reference.ts';
import type { Env } from '../../shared/settings-source.ts';
import type { Shutdown } from '../../shared/shutdown.ts';
import type { CommandSpec, Output } from './command.ts';
import { COMMANDS } from './commands.ts';
import { readForeignPools } from './foreign-pools.ts';
import { type Asked, createProgram } from './program.ts';

const FAILED = 1;
const BAD_USAGE = 2;

export interface CliOptions {
  /** Without node and script. */
  readonly argv: readonly string[];
  readonly env: Env;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly shutdown: Shutdown;
  readonly commands?: readonly CommandSpec[];
}

/** Never throws. @returns the exit code */
export async function runCli(cli: CliOptions): Promise<number> {
  let exitCode = 0;
  const program = createProgram({
    version: version(),
    commands: cli.commands ?? COMMANDS,
    epilogue: `\n${settingsHelp()}`,
    writeOut: (text) => void cli.stdout.write(text),
    writeErr: (text) => void cli.stderr.write(text),
    ask: async (asked) => {
      exitCode = await runCommand(asked, cli);
    },
  });
  try {
    await program.parseAsync(cli.argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    // `--help` and `--version` end with 0; help that nobody asked for is an answer to bad usage.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : BAD_USAGE;
    return fail(error, cli);
  }
}

/** The release's, from package.json: beside `services/` in a checkout, one folder up in a build. */
function version(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const found = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as {
        name?: string;
        version?: string;
      };
      if (found.name === 'cognito-feed' && found.version !== undefined) return found.version;
    } catch {
      // Not there: the other one is.
    }
  }
  return 'unknown';
}

async function runCommand({ spec, options, args, pool }: Asked, cli: CliOptions): Promise<number> {
  const { env, stdout, stderr, shutdown } = cli;
  const { signal } = shutdown;
  let settings: Settings;
  const needs = needsOf(spec, options);
  try {
    settings = loadSettings(env, { needs, pool });
    if (spec.serves !== true) settings = await readForeignPools(settings, needs);
  } catch (error) {
    return fail(error, cli);
  }
  const log = createLog(settings);
  listen(shutdown, log);
  try {
    const command = await spec.load();
    return await command({ settings, needs, options, args, log, signal, shutdown, stdout, stderr, env });
  } catch (error) {
    // A wait that the signal cut short is the end that was asked for.
    if (signal.aborted && classify(error).kind === 'interrupted') return 0;
    return fail(error, cli, settings);
  }
}

/** The command's own, and those of the options that were given. */
function needsOf({ needs, options = [] }: CommandSpec, given: Asked['options']): Needs {
  const named = (flags: string) =>
    flags
      .split(' ')[0]
      ?.slice(2)
      .replaceAll(/-([a-z])/g, (_, letter) => letter.toUpperCase()) ?? '';
  const extra = options.filter(({ flags }) => given[named(flags)] !== undefined).map((option) => option.needs);
  return Object.assign({}, needs, ...extra);
}

function listen(shutdown: Shutdown, log: Logger): void {
  shutdown.listener = {
    stopping: (reason) => log.info({ reason }, 'stopping: what is under way is finished first'),
    overdue: (undone) => {
      if (undone.length > 0)
        log.error({ undone }, 'time is up, and this was left undone; it is done again by whoever goes on');
      else log.warn('time is up; nothing was left undone but closing connections');
    },
  };
}

/** One plain line on stderr; where it came from only at debug. */
function fail(error: unknown, { env, stderr }: CliOptions, settings?: Settings): number {
  if (error instanceof SettingsError) {
    stderr.write(`cognito-feed: ${error.message}\n`);
    return error.exitCode;
  }
  stderr.write(`cognito-feed: ${maskUrls(oneLine(error).replaceAll(/\s*\n\s*/g, ' '))}\n`);
  const level = settings?.logLevel ?? env['LOG_LEVEL'];
  if (level === 'debug' || level === 'trace')
    stderr.write(`${maskUrls(JSON.stringify(safeError(error, true), null, 2)).replaceAll('\\n', '\n')}\n`);
  return error instanceof UserFacingError ? error.exitCode : FAILED;
}
