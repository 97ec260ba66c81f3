/**
 * What a Supabase Wrappers server (`create server … options (…)`) says of a pool, read as Wrappers reads it: its option names, and its secret
 * from the Vault. Source: https://github.com/supabase/wrappers, wrappers/src/fdw/cognito_fdw, supabase-wrappers/src/utils.rs (get_vault_secret).
 */
import pg from 'pg';
import { UserFacingError } from './errors.ts';

export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface ForeignServer {
  readonly poolId: string;
  readonly region: string;
  /** null: AWS itself, or where the settings say. */
  readonly endpoint: string | null;
  /** null: not asked for. */
  readonly keys: AwsKeys | null;
}

type ServerOptions = Readonly<Record<string, string | null>>;

/**
 * @param withKeys who only has to know which pool it is needs neither keys nor the Vault
 * @throws UserFacingError in one line for what is missing; never with a key or secret in it
 */
export async function readForeignServer(
  client: pg.ClientBase,
  name: string,
  withKeys: boolean,
): Promise<ForeignServer> {
  const options = await optionsOf(client, name);
  const missing = ['region', 'user_pool_id', ...(withKeys ? ['aws_access_key_id'] : [])].filter(
    (option) => given(options, option) === null,
  );
  if (withKeys && given(options, 'aws_secret_access_key') === null && given(options, 'api_key_id') === null)
    missing.push('aws_secret_access_key (or api_key_id, a secret of the Vault)');
  if (missing.length > 0) {
    throw new UserFacingError(
      `the foreign server ${name} lacks ${missing.length === 1 ? 'the option' : 'the options'} ${missing.join(', ')}: alter server … options (add …)`,
    );
  }
  return {
    poolId: given(options, 'user_pool_id') ?? '',
    region: given(options, 'region') ?? '',
    endpoint: given(options, 'endpoint_url'),
    keys: withKeys ? await keysOf(client, name, options) : null,
  };
}

/** null: not there, or empty. */
const given = (options: ServerOptions, name: string): string | null => options[name]?.trim() || null;

/** The catalog shows a server's options to every role. */
async function optionsOf(client: pg.ClientBase, name: string): Promise<ServerOptions> {
  const { rows } = await client.query<{ name: string; options: ServerOptions }>(
    `select srvname::text as name, case when srvname = $1 then
       (select coalesce(jsonb_object_agg(option_name, option_value), '{}') from pg_options_to_table(srvoptions)) end as options
     from pg_foreign_server order by srvname = $1 desc, srvname`,
    [name],
  );
  const [server] = rows;
  if (server?.name === name) return server.options;
  const others = rows.length === 0 ? 'there is none' : `there is ${rows.map((row) => row.name).join(', ')}`;
  throw new UserFacingError(`COGNITO_FOREIGN_SERVER: this database has no foreign server ${name}; ${others}`);
}

/** A secret written down in the options counts before one in the Vault, as for Wrappers. */
async function keysOf(client: pg.ClientBase, server: string, options: ServerOptions): Promise<AwsKeys> {
  const secretAccessKey =
    given(options, 'aws_secret_access_key') ?? (await secretOf(client, server, given(options, 'api_key_id') ?? ''));
  return { accessKeyId: given(options, 'aws_access_key_id') ?? '', secretAccessKey };
}

/** By id, by the `key_id` that older Vaults gave out, or by name. The text of `api_key_id` is in no message: somebody may have put the key itself there. */
async function secretOf(client: pg.ClientBase, server: string, id: string): Promise<string> {
  const { rows: found } = await client.query<{ keyed: boolean }>(
    `select exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'key_id' and not a.attisdropped) as keyed
     from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'vault' and c.relname = 'decrypted_secrets'`,
  );
  const [vault] = found;
  if (vault === undefined) {
    throw new UserFacingError(
      `the foreign server ${server} has an api_key_id, but this database has no Vault (vault.decrypted_secrets): create extension supabase_vault, or give the server aws_secret_access_key`,
    );
  }
  const byKey = vault.keyed ? ' or s.key_id::text = lower($1)' : '';
  const { rows } = await readable(
    server,
    client.query<{ secret: string | null }>(
      `select s.decrypted_secret as secret from vault.decrypted_secrets s
       where s.id::text = lower($1)${byKey} or s.name = $1 order by s.id::text = lower($1) desc limit 1`,
      [id],
    ),
  );
  const secret = rows[0]?.secret?.trim() ?? '';
  if (secret !== '') return secret;
  throw new UserFacingError(
    `the api_key_id of the foreign server ${server} ${rows.length === 0 ? 'is no secret of the Vault' : 'is an empty secret of the Vault'}: select id, name from vault.secrets shows those that are there`,
  );
}

async function readable<T>(server: string, query: Promise<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== '42501') throw error;
    throw new UserFacingError(
      `this role may not read the Vault, where the secret of the foreign server ${server} is: grant usage on schema vault and select on vault.decrypted_secrets to it`,
      1,
      { cause: error },
    );
  }
}
