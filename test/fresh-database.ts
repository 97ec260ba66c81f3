/** For one test: databases, roles and connections that are gone when it has finished. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { onTestFinished } from 'vitest';
import { closePostgres, connectPostgres } from '../shared/postgres.ts';
import { createDatabase, type Database, type DatabaseOptions } from './servers/database.ts';

export function connected(url: string, max = 2): pg.Pool {
  const pool = connectPostgres({ url, applicationName: 'test', max });
  onTestFinished(() => closePostgres(pool));
  return pool;
}

export async function freshDatabase(serverUrl: string, options: DatabaseOptions = {}): Promise<Database> {
  const made = await createDatabase(serverUrl, options);
  onTestFinished(() => made.drop());
  return made;
}

/** A role that may log in, with nothing else; call it before `freshDatabase`, so that it is dropped after what it was granted there. */
export async function freshLogin(serverUrl: string): Promise<{ name: string; password: string }> {
  const admin = connected(serverUrl);
  const name = `cf_login_${randomBytes(6).toString('hex')}`;
  const password = randomBytes(12).toString('hex');
  await admin.query(`create role ${name} login password '${password}'`);
  onTestFinished(async () => {
    await admin.query(`drop role ${name}`);
  });
  return { name, password };
}

/** What `work` is rejected with; undefined where it isn't. */
export const thrownBy = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
