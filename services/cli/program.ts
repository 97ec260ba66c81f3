/** The command line as commander sees it, built from the table of commands. */
import { type Command as Commander, InvalidArgumentError, program } from 'commander';
import { BadUsage, type CommandSpec } from './command.ts';

/** Which command was asked for, and how. */
export interface Asked {
  readonly spec: CommandSpec;
  readonly options: Readonly<Record<string, unknown>>;
  readonly args: readonly string[];
  readonly pool: string | undefined;
}

export interface ProgramOptions {
  readonly version: string;
  readonly commands: readonly CommandSpec[];
  /** Below the list of commands. */
  readonly epilogue: string;
  readonly writeOut: (text: string) => void;
  readonly writeErr: (text: string) => void;
  readonly ask: (asked: Asked) => Promise<void>;
}

/** Throws a CommanderError where commander would end the process. */
export function createProgram({ version, commands, epilogue, writeOut, writeErr, ask }: ProgramOptions): Commander {
  const root = program
    .createCommand('cognito-feed')
    .description('A Cognito user pool as a Postgres table, kept current')
    .version(version, '--version', 'print the version')
    .option('--pool <id>', 'the pool, where there are several')
    .helpOption('--help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut,
      writeErr,
      outputError: (text, write) => write(text.replace(/^error: /, 'cognito-feed: ')),
    })
    .exitOverride()
    .addHelpText('after', ({ error }) => (error ? '' : epilogue));
  for (const spec of commands) add(root, spec, ask);
  return root;
}

function add(root: Commander, spec: CommandSpec, ask: ProgramOptions['ask']): void {
  const path = spec.name.split(' ');
  const name = path.pop() ?? '';
  const command = path.reduce(group, root).command(name).description(spec.description).allowExcessArguments(false);
  if (spec.args !== undefined) command.arguments(spec.args);
  for (const { flags, description, parse } of spec.options ?? []) {
    if (parse === undefined) command.option(flags, description);
    else command.option(flags, description, (text, previous) => parsedBy(parse, text, previous));
  }
  command.action(async () => {
    const { pool, ...options } = command.optsWithGlobals<{ pool?: string }>();
    // `tail` and its like have one argument that repeats; flat, it is what was typed.
    await ask({ spec, options, args: command.args, pool });
  });
}

function group(parent: Commander, name: string): Commander {
  return (
    parent.commands.find((command) => command.name() === name) ?? parent.command(name).description(`see ${name} --help`)
  );
}

function parsedBy(parse: (text: string, previous: unknown) => unknown, text: string, previous: unknown): unknown {
  try {
    return parse(text, previous);
  } catch (error) {
    throw error instanceof BadUsage ? new InvalidArgumentError(`${error.message}.`) : error;
  }
}
