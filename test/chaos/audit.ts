/**
 * What the database itself saw: row triggers on the mirror and on the slot write every change of theirs down, in one sequence, whoever makes it.
 * The book lies in the same database, so a restored backup takes it back in time together with what it is about.
 */
import type pg from 'pg';
import { type MirroredRow, type State, stateOfRow } from './state.ts';

const INSTALL = `
create schema chaos;
create table chaos.audit (id bigint generated always as identity primary key, at timestamptz not null, op text not null, old jsonb, new jsonb);
create function chaos.note() returns trigger language plpgsql as $$
begin
  insert into chaos.audit (at, op, old, new) values (clock_timestamp(), tg_op, to_jsonb(old), to_jsonb(new));
  return null;
end $$;
create trigger chaos after insert or update or delete on cognito.users for each row execute function chaos.note();
create function chaos.note_slot() returns trigger language plpgsql as $$
begin
  insert into chaos.audit (at, op, new) values (clock_timestamp(), 'KEEPALIVE', to_jsonb(new.as_of));
  return null;
end $$;
create trigger chaos after update on cognito_feed.slots for each row when (old.as_of is distinct from new.as_of)
  execute function chaos.note_slot();`;

export interface RowChange {
  readonly id: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly op: 'INSERT' | 'UPDATE' | 'DELETE';
  readonly old: State | null;
  readonly new: State | null;
}

/** The slot has said that the mirror is at least as fresh as this. */
export interface Keepalive {
  readonly id: number;
  readonly at: number;
  readonly op: 'KEEPALIVE';
  readonly asOf: number;
}

export type AuditLine = RowChange | Keepalive;

/** A row of the change log. */
export interface LoggedChange {
  readonly lsn: number;
  readonly seq: number;
  readonly op: 'read' | 'insert' | 'update' | 'delete';
  readonly username: string;
  readonly sub: string;
  readonly old: State | null;
  readonly new: State | null;
}

export async function installAudit(postgres: pg.Pool): Promise<void> {
  await postgres.query(INSTALL);
}

const state = (row: MirroredRow | null): State | null => (row === null ? null : stateOfRow(row));

export async function readAudit(postgres: pg.Pool): Promise<AuditLine[]> {
  const { rows } = await postgres.query<{ id: string; at: number; op: string; old: MirroredRow; new: MirroredRow }>(
    'select id, (extract(epoch from at) * 1000)::float8 as at, op, old, new from chaos.audit order by id',
  );
  return rows.map((row): AuditLine => {
    const [id, at] = [Number(row.id), row.at];
    if (row.op === 'KEEPALIVE') return { id, at, op: row.op, asOf: Date.parse(row.new as unknown as string) };
    return { id, at, op: row.op as RowChange['op'], old: state(row.old), new: state(row.new) };
  });
}

export async function readChangeLog(postgres: pg.Pool): Promise<LoggedChange[]> {
  const { rows } = await postgres.query<Omit<LoggedChange, 'old' | 'new'> & { old: MirroredRow; new: MirroredRow }>(
    'select lsn::float8 as lsn, seq, op, username, sub, old, new from cognito_feed.changes order by lsn, seq',
  );
  return rows.map((row) => ({ ...row, old: state(row.old), new: state(row.new) }));
}

export async function readMirror(postgres: pg.Pool): Promise<State[]> {
  const { rows } = await postgres.query<{ row: MirroredRow }>('select to_jsonb(u) as row from cognito.users u');
  return rows.map(({ row }) => stateOfRow(row));
}
