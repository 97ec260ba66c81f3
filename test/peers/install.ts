/** What the peers need beyond `npm ci`, installed into the checkout's cache folder, which git ignores. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

export const CACHE = fileURLToPath(new URL('../../.cache/peers/', import.meta.url));

/**
 * @param commands run one after the other
 * @param advice what to do by hand, when one of them fails
 */
export async function install(what: string, commands: readonly (readonly string[])[], advice: string): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  process.stderr.write(`${what} is missing: installing it into ${CACHE}\n`);
  for (const [command = '', ...args] of commands) {
    const child = spawn(command, args, { cwd: CACHE, stdio: ['ignore', 'ignore', 'inherit'] });
    const failure = await once(child, 'exit').then(
      ([code]) => (code === 0 ? '' : `exit code ${code}`),
      (error: Error) => error.message,
    );
    if (failure !== '') {
      throw new Error(`${what} is missing, and \`${command} ${args.join(' ')}\` failed (${failure}): ${advice}`);
    }
  }
}
