/** A fresh database for each test. */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';

export interface DatabaseOptions {
  /** UTF8 unless told; another one is for tests of its refusal. */
  readonly encoding?: string;
  /** Defaults of each session there, as `{DateStyle: 'SQL, DMY'}`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface Database {
  readonly name: string;
  /** As the user of the server's URL. */
  readonly url: string;
  /** The same database for another role. */
  urlAs(user: string, password: string): string;
  /** Ends every session there first. Does nothing when it is gone. */
  drop(): Promise<void>;
}

/**
 * @param serverUrl of a superuser, or of a role that may create databases: `server.url()`, `inject('postgres18')`
 */
export async function createDatabase(serverUrl: string, options: DatabaseOptions = {}): Promise<Database> {
  const { encoding = 'UTF8', settings = {} } = options;
  const name = `cf_${randomBytes(8).toString('hex')}`;
  // Only the C locale goes with every encoding.
  const locale = encoding === 'UTF8' ? '' : ` locale 'C'`;
  await execute(serverUrl, [
    `create database ${name} template template0 encoding '${encoding}'${locale}`,
    ...Object.entries(settings).map(
      ([key, value]) => `alter database ${name} set ${key} to '${value.replaceAll("'", "''")}'`,
    ),
  ]);
  const url = withPath(serverUrl, name);
  return {
    name,
    url,
    urlAs(user, password) {
      const other = new URL(url);
      other.username = encodeURIComponent(user);
      other.password = encodeURIComponent(password);
      return other.href;
    },
    async drop() {
      await execute(serverUrl, [`drop database if exists ${name} with (force)`]);
    },
  };
}

async function execute(url: string, statements: readonly string[]): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

function withPath(serverUrl: string, database: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  return url.href;
}
