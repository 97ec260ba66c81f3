/**
 * The mirror takes the place of a Wrappers foreign table, and gives it back: each in one short transaction, so that the name always stands for
 * one of the two. ARCHITECTURE.md, "From the foreign table".
 */
import pg from 'pg';
import { sleep } from '../../shared/clock.ts';
import { UserFacingError } from '../../shared/errors.ts';
import { inspectMirror } from '../../shared/mirror.ts';
import { quoteIdentifier, quoteTable, transaction, withClient } from '../../shared/postgres.ts';
import { checkMigrations } from '../../shared/postgres-check.ts';
import type { TableName } from '../../shared/settings-values.ts';
import { type MigrateResult, takeLock } from './migrate.ts';
import { assertPublication } from './publication.ts';
import { targetName } from './slot-setup.ts';
import { inherit, readersOf, renameTable, suffixed } from './succession.ts';

/** Where the mirror is filled, and where it goes when the foreign table is put back. */
export const mirrorBeside = ({ schema, name }: TableName): TableName => ({ schema, name: suffixed(name, '_mirror') });
/** What the foreign table is called while the mirror has its name. */
export const foreignBeside = ({ schema, name }: TableName): TableName => ({ schema, name: suffixed(name, '_foreign') });

/** Queries that come meanwhile wait as long, so it is short; a query on the foreign table reads a whole pool, so it is tried again. */
const LOCK_TIMEOUT_MS = 2_000;
const LOCK_TRIES = 20;
const LOCK_PAUSE_MS = 1_000;
/** Readers that are named; the others are counted. */
const NAMED_READERS = 20;

type Found = 'nothing' | 'mirror' | 'foreign table';

/** @throws UserFacingError for anything else */
async function whatStands(client: pg.ClientBase, table: TableName): Promise<Found> {
  const found = await inspectMirror(client, table);
  if (found.found !== 'other') return found.found;
  if (found.foreign) return 'foreign table';
  throw new UserFacingError(`${targetName(table)} ${found.what}. Nothing was changed`);
}

/**
 * Whether there is a foreign table to replace; to be asked before the mirror is filled beside it, so that nobody waits for a refusal.
 * @throws UserFacingError for what is in the way
 */
export async function checkReplaceable(postgres: pg.Pool, target: TableName): Promise<'mirror' | 'foreign table'> {
  return await withClient(postgres, async (client) => {
    const found = await whatStands(client, target);
    if (found === 'nothing')
      throw new UserFacingError(`there is no foreign table ${targetName(target)} to replace: run cognito-feed migrate`);
    if (found === 'foreign table') {
      await refuseReaders(client, target, 'foreign table');
      await refuseTaken(client, foreignBeside(target));
      await refuseStranger(client, target);
      await whatStandsBeside(client, target);
    }
    return found;
  });
}

/** @throws UserFacingError where the name of the mirror beside is somebody else's */
async function whatStandsBeside(client: pg.ClientBase, target: TableName): Promise<void> {
  if ((await whatStands(client, mirrorBeside(target))) === 'foreign table')
    await refuseTaken(client, mirrorBeside(target));
}

/**
 * Puts the mirror beside, which is complete, in the foreign table's place. Nothing to do where it stands there already.
 * @throws UserFacingError with nothing changed
 */
export async function replaceForeignTable(
  postgres: pg.Pool,
  target: TableName,
  publication: string | null,
): Promise<MigrateResult> {
  const [mirror, foreign] = [mirrorBeside(target), foreignBeside(target)];
  const label = targetName(target);
  return await swapped(postgres, async (client) => {
    if ((await whatStands(client, target)) !== 'foreign table')
      return { applied: [`nothing to replace: ${label} is the mirror already`], warnings: [] };
    await refuseTaken(client, foreign);
    const slot = await lockSlot(client, mirror);
    if (slot === null || !slot.complete)
      throw new UserFacingError(
        `the initial copy into ${targetName(mirror)} is not complete. Nothing was replaced: run it again`,
      );
    await client.query(`alter foreign table ${quoteTable(target)} rename to ${quoteIdentifier(foreign.name)}`);
    await refuseReaders(client, foreign, 'foreign table', target);
    await renameTable(client, mirror, target.name);
    const lines = await inherit(client, foreign, target, true);
    await moveSlot(client, mirror, target);
    const published =
      publication === null ? { applied: [], warnings: [] } : await assertPublication(client, publication, [target]);
    return {
      applied: [
        `${label} is the mirror now; the foreign table is ${targetName(foreign)}`,
        ...lines,
        ...published.applied,
      ],
      warnings: published.warnings,
    };
  });
}

/**
 * Puts the foreign table back, and the mirror aside. Nothing to do where it stands there already.
 * @throws UserFacingError with nothing changed
 */
export async function restoreForeignTable(postgres: pg.Pool, target: TableName): Promise<string[]> {
  const [mirror, foreign] = [mirrorBeside(target), foreignBeside(target)];
  const label = targetName(target);
  return await swapped(postgres, async (client) => {
    const found = await whatStands(client, target);
    if (found === 'foreign table') return [`nothing to restore: ${label} is the foreign table already`];
    if (found === 'nothing' || (await whatStands(client, foreign)) !== 'foreign table')
      throw new UserFacingError(
        `there is no ${found === 'nothing' ? label : `foreign table ${targetName(foreign)}`} to restore from. Nothing was changed`,
      );
    await refuseTaken(client, mirror);
    await checkMigrations(client);
    await lockSlot(client, target);
    await client.query(`lock table ${quoteTable(target)} in access exclusive mode`);
    await refuseReaders(client, target, 'mirror');
    await renameTable(client, target, mirror.name);
    await client.query(`alter foreign table ${quoteTable(foreign)} rename to ${quoteIdentifier(target.name)}`);
    await inherit(client, mirror, target, false);
    await moveSlot(client, target, mirror);
    return [`${label} is the foreign table again; the mirror is ${targetName(mirror)}`];
  });
}

async function swapped<T>(postgres: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await transaction(postgres, async (client) => {
        await takeLock(client);
        await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
        return await work(client);
      });
    } catch (error) {
      const code = error instanceof pg.DatabaseError ? error.code : undefined;
      // lock_not_available, deadlock_detected
      if (code !== '55P03' && code !== '40P01') throw plain(error);
      if (tries >= LOCK_TRIES)
        throw new UserFacingError(
          'sessions that use the table did not let go of it (a query on the foreign table reads the whole pool). Nothing was changed: run it again',
          1,
          { cause: error },
        );
      await sleep(LOCK_PAUSE_MS);
    }
  }
}

function plain(error: unknown): unknown {
  if (!(error instanceof pg.DatabaseError) || error.code !== '42501') return error;
  return new UserFacingError(
    `this role may not do it: ${error.message}. Nothing was changed: it must be the owner of both tables, or a member of that role`,
    1,
    { cause: error },
  );
}

async function refuseTaken(client: pg.ClientBase, table: TableName): Promise<void> {
  const found = await inspectMirror(client, table);
  if (found.found === 'nothing') return;
  throw new UserFacingError(`the name ${targetName(table)} is taken. Nothing was changed: rename or drop what has it`);
}

/** Renaming takes the owner's rights; what they lack would come to light only after the copy. */
async function refuseStranger(client: pg.ClientBase, table: TableName): Promise<void> {
  const { rows } = await client.query<{ owner: string; owns: boolean }>(
    `select pg_get_userbyid(relowner)::text as owner, pg_has_role(relowner, 'usage') as owns from pg_class where oid = to_regclass($1)`,
    [quoteTable(table)],
  );
  if (rows[0]?.owns !== false) return;
  throw new UserFacingError(
    `this role may not rename ${targetName(table)}: it must be its owner, ${rows[0].owner}, or a member of that role. Nothing was changed`,
  );
}

/** @param name as the operator knows it, where the relation has been renamed */
async function refuseReaders(
  client: pg.ClientBase,
  table: TableName,
  kind: 'foreign table' | 'mirror',
  name: TableName = table,
): Promise<void> {
  const { rows } = await client.query<{ oid: string }>('select to_regclass($1)::oid::text as oid', [quoteTable(table)]);
  const readers = await readersOf(client, Number(rows[0]?.oid));
  if (readers.length === 0) return;
  const more = readers.length > NAMED_READERS ? `, and ${readers.length - NAMED_READERS} more` : '';
  throw new UserFacingError(
    `${targetName(name)} is read by ${readers.slice(0, NAMED_READERS).join(', ')}${more}, which would go on reading the ${kind}. Nothing was changed: drop them, and create them again afterwards`,
  );
}

/** First of all locks, as the writer takes it. null: there is no slot. */
async function lockSlot(client: pg.ClientBase, target: TableName): Promise<{ complete: boolean } | null> {
  const { rows } = await client.query<{ complete: boolean }>(
    `select state = 'streaming' and as_of is not null as complete from cognito_feed.slots where target = $1 for update`,
    [targetName(target)],
  );
  return rows[0] ?? null;
}

/** The mirror is the same relation, so nothing else in the slot changes. */
async function moveSlot(client: pg.ClientBase, from: TableName, to: TableName): Promise<void> {
  const { rows } = await client.query<{ pool: string }>('select pool from cognito_feed.slots where target = $1', [
    targetName(to),
  ]);
  if (rows[0] !== undefined)
    throw new UserFacingError(
      `the slot of pool ${rows[0].pool} names ${targetName(to)}. Nothing was changed: delete from cognito_feed.slots where target = '${targetName(to)}' if that mirror is gone`,
    );
  await client.query('update cognito_feed.slots set target = $2 where target = $1', [targetName(from), targetName(to)]);
}
