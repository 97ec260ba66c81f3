/**
 * Vitest's global set-up of the projects that need servers: one Postgres of each end of what is supported, for all test files.
 * A test takes its own database there: `await createDatabase(inject('postgres18'))`. Redis is started by each test file.
 */
import type { ProvidedContext } from 'vitest';
import type { TestProject } from 'vitest/node';
import { MAJORS, startPostgres } from './postgres.ts';
import { findRedis } from './redis-binary.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The superuser's URL of a Postgres 15. */
    postgres15: string;
    /** The superuser's URL of a Postgres 18. */
    postgres18: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Here, so that a machine without Redis hears of it once, and test files don't install it side by side.
  await findRedis();
  const started = await Promise.allSettled(MAJORS.map((major) => startPostgres({ major })));
  const servers = started.filter((result) => result.status === 'fulfilled').map((result) => result.value);
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  const failed = started.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  for (const server of servers)
    project.provide(`postgres${server.major}` satisfies keyof ProvidedContext, server.url());
  return stop;
}
