/** A database of the demo's own on a server, somebody else's maybe, and its end. */
import { randomBytes } from 'node:crypto';
import { oneLine, UserFacingError } from '../../../shared/errors.ts';
import { closePostgres, connectPostgres } from '../../../shared/postgres.ts';

export interface Server {
  readonly url: string;
  readonly auth: 'password' | 'rds-iam';
}

export interface OwnDatabase {
  readonly name: string;
  readonly url: string;
  drop(): Promise<void>;
}

/** @throws UserFacingError where the role may not create databases; otherwise what Postgres throws */
export async function ownDatabase(server: Server, name = unlikeAnother()): Promise<OwnDatabase> {
  try {
    await execute(server, `create database ${name} template template0 encoding 'UTF8'`);
  } catch (error) {
    throw new UserFacingError(`the demo needs a database of its own: ${oneLine(error)}`, 1, { cause: error });
  }
  return {
    name,
    url: withDatabase(server.url, name),
    drop: () => execute(server, `drop database if exists ${name} with (force)`),
  };
}

const unlikeAnother = (): string => `cognito_feed_demo_${randomBytes(4).toString('hex')}`;

async function execute({ url, auth }: Server, statement: string): Promise<void> {
  const postgres = connectPostgres({ url, auth, applicationName: 'cognito-feed demo', max: 1 });
  try {
    await postgres.query(statement);
  } finally {
    await closePostgres(postgres);
  }
}

/** Another database of the same server; what comes after the path stays. */
export function withDatabase(url: string, database: string): string {
  return url.replace(/^([a-z]+:\/\/[^/?]*)(?:\/[^?]*)?/, `$1/${database}`);
}

/** For `psql`: without the password, which a shell's history would keep. */
export function withoutPassword(url: string): string {
  return url.replace(/^([a-z]+:\/\/[^/?@]*?):[^/?]*@/, '$1@');
}
