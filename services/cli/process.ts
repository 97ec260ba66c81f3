/** What the process owes its manager, whatever the command: signals, pipes, errors that nobody caught, and an end. */
import { machineClock, Shutdown } from '../../shared/shutdown.ts';

/** Whatever still holds the process after its command has ended gets this long to let go. */
const LINGER_MS = 500;

/** To be called before anything else is loaded, so that no signal is missed while the rest is. */
export function prepare(process: NodeJS.Process): Shutdown {
  // The SDK announces the end of Node 20 on stderr at every start; the contract allows one plain line there, about a failure.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const shutdown = new Shutdown(process);
  endQuietlyInPipes(process, shutdown);
  failInOneLine(process);
  return shutdown;
}

/** The command has ended. */
export function endWith(exitCode: number, shutdown: Shutdown): void {
  process.exitCode = exitCode;
  shutdown.finish();
  machineClock.after(LINGER_MS, () => process.exit());
}

/** `tail | head`: the reader has had enough. */
function endQuietlyInPipes({ stdout, stderr }: NodeJS.Process, shutdown: Shutdown): void {
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') shutdown.begin('nobody reads the output any more');
    else throw error;
  });
  stderr.on('error', () => {});
}

/** An error that nobody caught: Node would print its message, which may hold values. */
function failInOneLine(process: NodeJS.Process): void {
  process.on('uncaughtException', async (error) => {
    process.exitCode = 1;
    const { oneLine } = await import('../../shared/errors.ts');
    process.stderr.write(`cognito-feed: ${oneLine(error)}\n`);
    process.exit(1);
  });
}
