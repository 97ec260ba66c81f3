-- The service's own schema. Forward only: a migration that has been released is never edited; the next one changes what it made.
-- Runs with search_path = pg_catalog, so every name of ours is qualified. The schema and the table of migrations are there already.

-- One row a pool, updated at each commit: the low fillfactor leaves the page's room to its next versions, and no index is on a
-- column that changes, so each update is HOT (https://www.postgresql.org/docs/current/storage-hot.html).
create table cognito_feed.slots (
  pool                 text primary key,
  target               text not null unique,
  timeline             uuid not null,
  state                text not null check (state in ('copying', 'streaming')),
  confirmed_lsn        bigint not null default 0,
  commit_id            uuid not null,
  previous_commit_id   uuid,
  floor                timestamptz not null,
  as_of                timestamptz,
  users                bigint not null default 0,
  last_batch           bytea,
  mirror_oid           oid,
  mirror_filenode      oid,
  resync_reason        text,
  resynced_at          timestamptz,
  scan_replaced        bigint not null default 0,
  last_scan_at         timestamptz,
  last_scan_seconds    double precision,
  last_scan_pages      bigint,
  last_scan_users      bigint,
  last_scan_complete   boolean,
  retention_lsn        bigint not null default 0
) with (
  fillfactor = 10,
  autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0, autovacuum_analyze_threshold = 100000,
  toast.autovacuum_vacuum_threshold = 2000, toast.autovacuum_vacuum_scale_factor = 0
);
-- last_batch is rewritten whole at each commit and read once: compressing it would only cost time under the slot's lock.
alter table cognito_feed.slots alter column last_batch set storage external;

comment on table cognito_feed.slots is 'One row a pool: where its feed stands. Only the writer writes it, under the row''s lock.';
comment on column cognito_feed.slots.target is 'The mirror, as schema.table.';
comment on column cognito_feed.slots.last_batch is 'What the snapshot was about to learn from the last commit.';
comment on column cognito_feed.slots.resync_reason is 'Set while a snapshot is owed; nothing is applied meanwhile.';
comment on column cognito_feed.slots.retention_lsn is 'Changes up to and with this LSN may have been deleted from the change log.';

-- What the mirror's rows became, in commit order. Retention walks the primary key from its low end: within a pool committed_at
-- rises with the LSN, both being given under the slot's lock. The BRIN index is for people who ask by time; it costs the writer nothing.
create table cognito_feed.changes (
  pool           text not null,
  lsn            bigint not null,
  seq            integer not null,
  timeline       uuid not null,
  op             text not null check (op in ('read', 'insert', 'update', 'delete')),
  username       text not null,
  sub            text not null,
  changed        text[] not null default '{}',
  old            jsonb,
  new            jsonb,
  committed_at   timestamptz not null,
  primary key (pool, lsn, seq)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);
create index changes_committed_at_brin on cognito_feed.changes using brin (committed_at) with (pages_per_range = 32, autosummarize = on);

create table cognito_feed.tombstones (
  pool         text not null,
  sub          text not null,
  username     text not null,
  deleted_at   timestamptz not null,
  primary key (pool, sub)
);

create table cognito_feed.held_deletes (
  pool       text not null,
  username   text not null,
  sub        text not null,
  held_at    timestamptz not null,
  reason     text not null default '',
  seen_at    timestamptz,
  primary key (pool, sub)
);
comment on column cognito_feed.held_deletes.seen_at is 'The floor of the scan that last held it.';

create table cognito_feed.rejects (
  pool          text not null,
  username      text not null,
  sub           text not null,
  sqlstate      text not null,
  reason        text not null,
  first_seen    timestamptz not null,
  last_seen     timestamptz not null,
  tries         integer not null default 1,
  fingerprint   bytea,
  seen_floor    timestamptz,
  primary key (pool, sub)
);
comment on column cognito_feed.rejects.fingerprint is 'Of the row that was refused: another one is tried again.';
comment on column cognito_feed.rejects.seen_floor is 'The floor of the scan that last saw it.';

-- One row a publisher's target and pool. The position is (timeline, lsn, seq); a delivery is confirmed when it was accepted outside.
create table cognito_feed.subscriptions (
  name             text not null,
  pool             text not null,
  timeline         uuid,
  confirmed_lsn    bigint not null default 0,
  confirmed_seq    integer not null default 0,
  created_at       timestamptz not null default pg_catalog.now(),
  confirmed_at     timestamptz,
  primary key (name, pool)
) with (fillfactor = 10, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

create table cognito_feed.dead_letters (
  id             bigint generated by default as identity primary key,
  subscription   text not null,
  pool           text not null,
  lsn            bigint not null,
  seq            integer not null,
  reason         text not null,
  tries          integer not null default 0,
  failed_at      timestamptz not null default pg_catalog.now(),
  timeline       uuid,
  unique (subscription, pool, lsn, seq)
);

create view cognito_feed.status as
select
  slot.pool,
  slot.target,
  slot.state,
  slot.as_of,
  pg_catalog.clock_timestamp() - slot.as_of as staleness,
  slot.users,
  slot.confirmed_lsn,
  slot.last_scan_at,
  slot.last_scan_seconds,
  (select pg_catalog.count(*) from cognito_feed.held_deletes held where held.pool = slot.pool) as held_deletes,
  (select pg_catalog.count(*) from cognito_feed.rejects rejected where rejected.pool = slot.pool) as rejects
from cognito_feed.slots slot;
comment on view cognito_feed.status is 'How fresh each mirror is.';
