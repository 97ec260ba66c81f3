/** The ledger's door in memory against the one on real Postgres: the same random history for both leaves the same rows. */
import type pg from 'pg';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { migrate } from '../../services/writer/migrate.ts';
import { mirrorRows } from '../../services/writer/mirror-reader.ts';
import { PostgresLedger } from '../../services/writer/postgres-ledger.ts';
import { ensureSlot } from '../../services/writer/slot-setup.ts';
import { withClient } from '../../shared/postgres.ts';
import type { Row } from '../../shared/user.ts';
import { connected, freshDatabase } from '../fresh-database.ts';
import { type Contents, type LedgerDoor, randomHistory, uuids } from './ledger-scenarios.ts';
import { MemoryLedger } from './memory-ledger.ts';
import { MemoryPostgres, subIn } from './memory-postgres.ts';
import { MemoryRedis } from './memory-redis.ts';
import { MemorySnapshot } from './memory-snapshot.ts';
import { startPump } from './pumped.ts';

const POOL = 'eu-west-1_doors';
const TARGET = { schema: 'cognito', name: 'users' };
const FIRST = ['ffffffff-0000-4000-8000-000000000001', 'ffffffff-0000-4000-8000-000000000002'] as const;

/** Redis is the model's on both sides: here the ledger is what is held to the truth. */
function memorySide() {
  const pump = startPump('writer');
  // Postgres lets tombstones go by its own clock.
  pump.scheduler.now = Date.now();
  onTestFinished(() => pump.stop());
  const redis = new MemoryRedis(pump.scheduler);
  const newGeneration = uuids();
  return { pump, snapshot: new MemorySnapshot(redis, pump.process, newGeneration), now: () => redis.time };
}

function memoryDoor(): LedgerDoor {
  const { pump, snapshot, now } = memorySide();
  const postgres = new MemoryPostgres(pump.scheduler, FIRST);
  return {
    ledger: new MemoryLedger(postgres, pump.process),
    snapshot,
    now,
    contents: async () => contentsOf(postgres),
    edit: async (username, what) => {
      postgres.editByHand((mirror) => {
        const row = mirror.get(username);
        if (row === undefined) return;
        if (what === 'remove') mirror.delete(username);
        else if (what === 'email') mirror.set(username, { ...row, email: 'by hand' });
        else mirror.set(username, { ...row, attributes: row.attributes.filter(([name]) => name !== 'sub') });
      });
    },
  };
}

function contentsOf({ database }: MemoryPostgres): Contents {
  return {
    mirror: byUsername([...database.mirror.values()]),
    log: database.log.map(({ lsn, op, username, sub, old, new: row }) => ({ lsn, op, username, sub, old, new: row })),
    tombstones: [...database.tombstones.keys()].sort(),
    held: [...database.held.keys()].sort(),
    rejects: [...database.rejects.keys()].sort(),
  };
}

const byUsername = (rows: readonly Row[]): Row[] =>
  [...rows].sort((a, b) => (a.username < b.username ? -1 : a.username > b.username ? 1 : 0));

async function realDoor(server: string): Promise<LedgerDoor> {
  const database = await freshDatabase(server);
  const postgres = connected(database.url, 4);
  await migrate(postgres, { targets: [TARGET], publication: 'cognito_users', roles: false });
  await ensureSlot(postgres, POOL, TARGET, FIRST);
  const { snapshot, now } = memorySide();
  return {
    ledger: new PostgresLedger({
      postgres,
      pool: POOL,
      target: TARGET,
      changeLog: true,
      onEnded: () => undefined,
      rebuildMoves: async () => true,
    }),
    snapshot,
    now,
    contents: () => contentsIn(postgres),
    edit: async (username, what) => {
      const how = {
        remove: 'delete from cognito.users where username = $1',
        email: `update cognito.users set email = 'by hand' where username = $1`,
        strip: `update cognito.users set attributes = (select coalesce(jsonb_agg(a), '[]') from jsonb_array_elements(attributes) a where not a ? 'sub')
          where username = $1`,
      }[what];
      await postgres.query(how, [username]);
    },
  };
}

async function contentsIn(postgres: pg.Pool): Promise<Contents> {
  const mirror = await withClient(postgres, async (client) => {
    await client.query('begin');
    const rows: Row[] = [];
    for await (const some of mirrorRows(client, 'cognito.users')) rows.push(...some.map(({ row }) => row));
    await client.query('commit');
    return rows;
  });
  const subs = async (table: string) =>
    (await postgres.query<{ sub: string }>(`select sub from cognito_feed.${table}`)).rows.map(({ sub }) => sub).sort();
  const { rows: log } = await postgres.query<{
    lsn: string;
    op: string;
    username: string;
    sub: string;
    old: unknown;
    new: unknown;
  }>('select lsn, op, username, sub, old, new from cognito_feed.changes order by lsn, seq');
  return {
    mirror: byUsername(mirror),
    log: log.map((line) => ({ ...line, lsn: Number(line.lsn), old: logged(line.old), new: logged(line.new) })),
    tombstones: await subs('tombstones'),
    held: await subs('held_deletes'),
    rejects: await subs('rejects'),
  };
}

/** A row as to_jsonb gives it. */
function logged(json: unknown): Row | null {
  if (json === null) return null;
  const { username, email, status, enabled, created_at, updated_at, attributes } = json as Record<string, unknown>;
  const millis = (text: unknown) => (text === null ? null : Date.parse(`${String(text)}Z`));
  return {
    username: String(username),
    email: email as string | null,
    status: status as string | null,
    enabled: enabled as boolean | null,
    createdAt: millis(created_at),
    updatedAt: millis(updated_at),
    attributes: (attributes as Record<string, string | null>[]).flatMap((one) => Object.entries(one)),
  };
}

describe.each(['postgres15', 'postgres18'] as const)('The ledger on %s', (major) => {
  test.each([1, 20_261_123])('leaves the same rows as the one in memory after 60 turns: seed %i', async (seed) => {
    const told: unknown[][] = [[], []];
    const doors = [await realDoor(inject(major)), memoryDoor()];
    for (const [side, door] of doors.entries()) await randomHistory(door, seed, (turn) => told[side]?.push(turn));
    const [real = [], memory = []] = told;
    expect(real.length).toBe(memory.length);
    // One by one: the first turn that differs is the one to look at.
    real.forEach((turn, n) => {
      expect(turn, `turn ${n}`).toEqual(memory[n]);
    });
    expect(JSON.stringify(real)).toContain('"op":"update"');
  });
});

test('A sub is read from a row alike', () => {
  const row = { username: 'u', email: null, status: null, enabled: null, createdAt: null, updatedAt: null } as const;
  expect(
    subIn({
      ...row,
      attributes: [
        ['sub', null],
        ['sub', ''],
        ['sub', 'x'],
      ],
    }),
  ).toBe('x');
  expect(subIn({ ...row, attributes: [] })).toBeNull();
});
