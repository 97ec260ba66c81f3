/**
 * Before the first batch: which mirror this is, and that its slot is there and is this pool's.
 */
import type pg from 'pg';
import { UserFacingError } from '../../shared/errors.ts';
import { type MirrorTag, mirrorTag } from '../../shared/keys.ts';
import { quoteTable } from '../../shared/postgres.ts';
import type { TableName } from '../../shared/settings-values.ts';

/** As people read it in `slots.target`: no quotes. */
export const targetName = ({ schema, name }: TableName): string => `${schema}.${name}`;

/**
 * The mirror's place in Redis. The cluster's own identifier (pg_control_system) tells apart two servers with databases of one name; where a
 * provider forbids to read it, the address of the server has to do.
 */
export async function identify(postgres: pg.Pool, pool: string, target: TableName): Promise<MirrorTag> {
  const { rows } = await postgres.query<{ database: string; allowed: boolean }>(
    `select current_database() as database, has_function_privilege('pg_control_system()', 'execute') as allowed`,
  );
  const { database = '', allowed = false } = rows[0] ?? {};
  const identifier = allowed
    ? 'select system_identifier::text as id from pg_control_system()'
    : `select coalesce(inet_server_addr()::text, '') || ':' || coalesce(inet_server_port()::text, '') as id`;
  const system = await postgres.query<{ id: string }>(identifier);
  return mirrorTag({ pool, systemIdentifier: system.rows[0]?.id ?? '', database, target: targetName(target) });
}

/**
 * Makes the slot where there is none. Its first snapshot is owed; a mirror that is empty is about to get its initial copy.
 * @throws UserFacingError where the mirror is another pool's, or the pool has another mirror in this database
 */
export async function ensureSlot(
  postgres: pg.Pool,
  pool: string,
  target: TableName,
  ids: readonly [string, string],
): Promise<void> {
  const mirror = quoteTable(target);
  const name = targetName(target);
  await postgres.query(
    `insert into cognito_feed.slots (pool, target, timeline, state, commit_id, floor, resync_reason, mirror_oid, mirror_filenode)
     select $1, $2, $4, case when exists (select from ${mirror}) then 'streaming' else 'copying' end, $5, to_timestamp(0), 'first start',
       to_regclass($3)::oid, pg_relation_filenode(to_regclass($3))
     on conflict do nothing`,
    [pool, name, mirror, ids[0], ids[1]],
  );
  const { rows } = await postgres.query<{ pool: string; target: string }>(
    'select pool, target from cognito_feed.slots where pool = $1 or target = $2',
    [pool, name],
  );
  const other = rows.find((row) => row.pool !== pool || row.target !== name);
  if (other === undefined) return;
  throw new UserFacingError(
    other.target === name
      ? `${name} is the mirror of pool ${other.pool}, not of ${pool}: choose another TARGET_TABLE for this pool`
      : `pool ${pool} is mirrored into ${other.target} in this database, not into ${name}: one pool has one mirror in a database`,
  );
}
