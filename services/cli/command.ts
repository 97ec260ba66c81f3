/** What a command gets, and how the table of commands describes one. */
import type { Logger } from '../../shared/log.ts';
import type { Needs, Settings } from '../../shared/settings.ts';
import type { Env } from '../../shared/settings-source.ts';
import type { Shutdown } from '../../shared/shutdown.ts';

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface CommandContext {
  readonly settings: Settings;
  /** The command's, and those of the options that were given. */
  readonly needs?: Needs;
  /** By the long flag's name in camelCase; a flag that was not given is undefined. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly args: readonly string[];
  readonly log: Logger;
  /** Aborted when the process is to stop. */
  readonly signal: AbortSignal;
  /** To name work that an exit would cut off. */
  readonly shutdown: Shutdown;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Env;
}

/**
 * @returns the exit code
 * @throws anything: then it is 1, or a UserFacingError's own
 */
export type Command = (context: CommandContext) => Promise<number>;

export interface CommandOption {
  /** As commander reads them: `--users <n>`. */
  readonly flags: string;
  readonly description: string;
  /** @throws BadUsage */
  readonly parse?: (text: string, previous: unknown) => unknown;
  /** What the command can't do without where it is given. */
  readonly needs?: Needs;
}

export interface CommandSpec {
  /** `deletes list` is the command `list` of the group `deletes`. */
  readonly name: string;
  readonly description: string;
  /** Positional arguments, as commander reads them: `<id...>`. */
  readonly args?: string;
  readonly options?: readonly CommandOption[];
  readonly needs: Needs;
  /** Runs until a signal, and waits for a Postgres that is away: then it reads a foreign server itself (`serve`). */
  readonly serves?: true;
  /** Imported only when it is asked for: a start takes no longer than its own command. */
  readonly load: () => Promise<Command>;
}

/** An option's or argument's text that can't be used. Exit code 2. */
export class BadUsage extends Error {
  override readonly name = 'BadUsage';
}
