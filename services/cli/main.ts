#!/usr/bin/env node
/** The command line. */
import { endWith, prepare } from './process.ts';

const shutdown = prepare(process);
const { runCli } = await import('./cli.ts');
const { argv, env, stdout, stderr } = process;
endWith(await runCli({ argv: argv.slice(2), env, stdout, stderr, shutdown }), shutdown);
