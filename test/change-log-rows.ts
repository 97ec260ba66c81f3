/** A pool's slot and change log, written as the writer writes them but without a mirror: under the slot's lock, one LSN a commit. */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { migrate } from '../services/writer/migrate.ts';
import { transaction } from '../shared/postgres.ts';

export const POOL = 'eu-west-1_Test';

export interface WrittenChange {
  readonly op: 'read' | 'insert' | 'update' | 'delete';
  readonly sub: string;
  readonly username?: string;
  readonly changed?: readonly string[];
  readonly old?: object | null;
  readonly new?: object | null;
}

/** Migrated, with a slot at LSN 0. @returns its timeline */
export async function createFeed(postgres: pg.Pool, pool = POOL, roles = false): Promise<string> {
  await migrate(postgres, { targets: [{ schema: 'cognito', name: 'users' }], publication: null, roles });
  return await createSlot(postgres, pool);
}

export async function createSlot(postgres: pg.Pool, pool: string): Promise<string> {
  const timeline = randomUUID();
  await postgres.query(
    `insert into cognito_feed.slots (pool, target, timeline, state, commit_id, floor) values ($1, $1 || '.users', $2, 'streaming', gen_random_uuid(), now())`,
    [pool, timeline],
  );
  return timeline;
}

/** One commit. @returns its LSN */
export async function commitChanges(
  postgres: pg.Pool,
  changes: readonly WrittenChange[],
  { pool = POOL, agoMs = 0 }: { pool?: string; agoMs?: number } = {},
): Promise<number> {
  return await transaction(postgres, async (client) => {
    const { rows } = await client.query<{ lsn: string; timeline: string }>(
      'select confirmed_lsn + 1 as lsn, timeline from cognito_feed.slots where pool = $1 for update',
      [pool],
    );
    const { lsn = '', timeline = '' } = rows[0] ?? {};
    await client.query(
      `insert into cognito_feed.changes (pool, lsn, seq, timeline, op, username, sub, changed, old, new, committed_at)
       select $1, $2, c.seq - 1, $3, c.value ->> 'op', coalesce(c.value ->> 'username', c.value ->> 'sub'), c.value ->> 'sub',
         coalesce(array(select jsonb_array_elements_text(c.value -> 'changed')), '{}'), nullif(c.value -> 'old', 'null'),
         nullif(c.value -> 'new', 'null'), clock_timestamp() - make_interval(secs => $5::float8 / 1000)
       from jsonb_array_elements($4) with ordinality c (value, seq)`,
      [pool, lsn, timeline, JSON.stringify(changes), agoMs],
    );
    await client.query(
      'update cognito_feed.slots set confirmed_lsn = $2, previous_commit_id = commit_id, commit_id = gen_random_uuid() where pool = $1',
      [pool, lsn],
    );
    return Number(lsn);
  });
}

/** As the writer's `newTimeline`. */
export async function switchTimeline(postgres: pg.Pool, lsn: number | null = null, pool = POOL): Promise<string> {
  const timeline = randomUUID();
  await postgres.query(
    'update cognito_feed.slots set timeline = $2, commit_id = gen_random_uuid(), confirmed_lsn = coalesce($3, confirmed_lsn + 1) where pool = $1',
    [pool, timeline, lsn],
  );
  return timeline;
}
