-- What a publisher keeps: its lease on a target, and the deliveries that it owes.

-- The lease is by this server's clock. `fence` rises with each holder: a statement of an earlier one finds no row.
alter table cognito_feed.subscriptions
  add column holder       uuid,
  add column fence        bigint not null default 0,
  add column lease_until  timestamptz;

comment on table cognito_feed.subscriptions is 'One row a target and pool: how far it has got, and who delivers. Delete a row to have its target start anew at the current LSN.';
comment on column cognito_feed.subscriptions.confirmed_seq is 'Of the commit confirmed_lsn: changes up to this one are settled; 2147483647 is all of them.';

-- Changes that the position has passed and that are not delivered yet: they failed, or wait behind one of the same user that did.
create table cognito_feed.pending_deliveries (
  subscription     text not null,
  pool             text not null,
  lsn              bigint not null,
  seq              integer not null,
  timeline         uuid not null,
  username         text not null,
  sub              text not null,
  tries            integer not null default 0,
  first_tried_at   timestamptz,
  next_try_at      timestamptz,
  reason           text,
  claimed_by       bigint,
  primary key (subscription, pool, lsn, seq)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.05);

comment on table cognito_feed.pending_deliveries is 'What a publisher owes beyond its position: deliveries that failed and are tried again, and what waits behind them.';
comment on column cognito_feed.pending_deliveries.claimed_by is 'The fence of the publisher that has it in memory.';
