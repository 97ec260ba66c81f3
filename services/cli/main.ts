#!/usr/bin/env node
/**
 * The command line. Signals are listened to before anything else is loaded, so that none is missed while the rest is.
 */
import { machineClock, Shutdown } from '../../shared/shutdown.ts';

/** Whatever still holds the process after its command has ended gets this long to let go. */
const LINGER_MS = 500;

async function main(): Promise<void> {
  const shutdown = new Shutdown(process);
  endQuietlyInPipes(shutdown);
  failInOneLine();
  // The SDK announces the end of Node 20 on stderr at every start; the contract allows one plain line there, about a failure.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const { runCli } = await import('./cli.ts');
  const { env, stdout, stderr } = process;
  process.exitCode = await runCli({ argv: process.argv.slice(2), env, stdout, stderr, shutdown });
  shutdown.finish();
  machineClock.after(LINGER_MS, () => process.exit());
}

/** `tail | head`: the reader has had enough. */
function endQuietlyInPipes(shutdown: Shutdown): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') shutdown.begin('nobody reads the output any more');
    else throw error;
  });
  process.stderr.on('error', () => {});
}

/** An error that nobody caught: Node would print its message, which may hold values. */
function failInOneLine(): void {
  process.on('uncaughtException', async (error) => {
    process.exitCode = 1;
    const { oneLine } = await import('../../shared/errors.ts');
    process.stderr.write(`cognito-feed: ${oneLine(error)}\n`);
    process.exit(1);
  });
}

await main();
