/**
 * The emulator as a process of its own: prints its endpoint as one line, lives until SIGTERM or SIGINT.
 *
 * Flags, each also as an environment variable: --host EMULATOR_HOST, --port EMULATOR_PORT, --pool EMULATOR_POOL, --users
 * EMULATOR_USERS (ordinary ones), --hostile EMULATOR_HOSTILE (hostile ones), --seed EMULATOR_SEED, --subs EMULATOR_SUBS (`regional`,
 * `uuid4`), --usernames EMULATOR_USERNAMES (`own`, `sub`).
 */
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { Emulator } from './emulator.ts';
import { hostileUsers } from './hostile-users.ts';

const FLAGS = ['host', 'port', 'pool', 'users', 'hostile', 'seed', 'subs', 'usernames'] as const;

const settingsSchema = z.object({
  host: z.string().default('127.0.0.1'),
  port: z.coerce.number().int().min(0).max(65_535).default(0),
  pool: z.string().optional(),
  users: z.coerce.number().int().nonnegative().default(0),
  hostile: z.coerce.number().int().nonnegative().default(0),
  seed: z.coerce.number().int().default(1),
  subs: z.enum(['regional', 'uuid4']).optional(),
  usernames: z.enum(['own', 'sub']).optional(),
});

/** @throws TypeError for an unknown flag, Error for a bad value */
function settings(): z.output<typeof settingsSchema> {
  const options = Object.fromEntries(FLAGS.map((flag) => [flag, { type: 'string' as const }]));
  const { values } = parseArgs({ options });
  const given = FLAGS.map((flag) => [flag, values[flag] ?? process.env[`EMULATOR_${flag.toUpperCase()}`]]);
  const parsed = settingsSchema.safeParse(Object.fromEntries(given));
  if (!parsed.success) throw new Error(z.prettifyError(parsed.error));
  return parsed.data;
}

async function main(): Promise<void> {
  const { host, port, pool, users, hostile, seed, subs, usernames } = settings();
  const emulator = await Emulator.start({ host, port, seed, pools: [{ id: pool, subs, usernames }] });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void emulator.stop());
  emulator.pool().fill(users);
  emulator.pool().load(hostileUsers(hostile, seed));
  process.stdout.write(`${emulator.endpoint}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
