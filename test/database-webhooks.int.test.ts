/**
 * Issue 4: webhooks by trigger on the mirror, Supabase's and a user's own: once for each real change, never for a scan that found nothing, never INSERT
 * for an update.
 */
import { expect, inject, test } from 'vitest';
import { churn } from './emulator/churn.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';

const redis = redisOfFile();

/**
 * A stand-in for Supabase's function, which hands the request to pg_net (https://github.com/supabase/postgres, `supabase_functions.http_request`):
 * the same signature (url, method, headers, params, timeout as the trigger's arguments) and the same payload, into a table.
 */
const SUPABASE = `
  create schema supabase_functions;
  create table supabase_functions.requests (id bigint generated always as identity, url text, method text, headers jsonb, params jsonb, timeout_ms int, payload jsonb);
  create function supabase_functions.http_request() returns trigger language plpgsql security definer set search_path = supabase_functions as $$
  begin
    insert into requests (url, method, headers, params, timeout_ms, payload)
    values (tg_argv[0], tg_argv[1], tg_argv[2]::jsonb, tg_argv[3]::jsonb, tg_argv[4]::int,
      jsonb_build_object('type', tg_op, 'table', tg_table_name, 'schema', tg_table_schema,
        'record', case when tg_op = 'DELETE' then null else to_jsonb(new) end,
        'old_record', case when tg_op = 'INSERT' then null else to_jsonb(old) end));
    return coalesce(new, old);
  end $$;
  create trigger users_webhook after insert or update or delete on cognito.users for each row execute function
    supabase_functions.http_request('https://example.com/hook', 'POST', '{"Content-Type":"application/json"}', '{}', '1000')`;

/** As docs/feed.md shows it. */
const OWN = `
  create table public.outbox (id bigint generated always as identity, op text, username text);
  create function public.note_user() returns trigger language plpgsql as $$
  begin
    insert into public.outbox (op, username) values (tg_op, coalesce(new.username, old.username));
    return null;
  end $$;
  create trigger note_user after insert or update or delete on cognito.users for each row execute function public.note_user()`;

interface Payload {
  readonly type: string;
  readonly table: string;
  readonly schema: string;
  readonly record: object | null;
  readonly old_record: object | null;
}

async function sent(feed: Feed): Promise<Payload[]> {
  const rows = await feed.query<{ payload: Payload }>('delete from supabase_functions.requests returning payload, id');
  return rows.map(({ payload }) => payload);
}

test.for(['postgres15', 'postgres18'] as const)(
  'triggers fire once for each real change and never otherwise, on %s',
  async (major) => {
    const feed = await startFeed({ redis, postgres: inject(major) });
    feed.pool.fill(200);
    await feed.sync();
    await feed.query(SUPABASE);
    await feed.query(OWN);
    await feed.sync();
    await feed.sync();
    expect(await sent(feed)).toEqual([]);

    const since = (await feed.slot()).lsn;
    const steps = churn(feed.pool, { seed: major });
    for (let n = 0; n < 150; n++) steps.next();
    await feed.sync();
    const logged = await feed.query<{ op: string; username: string; old: object | null; new: object | null }>(
      'select op, username, old, new from cognito_feed.changes where lsn > $1 order by lsn, seq',
      [since],
    );
    expect(new Set(logged.map(({ op }) => op))).toEqual(new Set(['insert', 'update', 'delete']));
    const payloads = await sent(feed);
    const text = (payload: Payload) => JSON.stringify(payload);
    const wanted = logged.map(
      (change): Payload => ({
        ...{ type: change.op.toUpperCase(), table: 'users', schema: 'cognito' },
        ...{ record: change.new, old_record: change.old },
      }),
    );
    const inKeyOrder = ({ type, table, schema, record, old_record }: Payload): Payload => ({
      type,
      table,
      schema,
      record,
      old_record,
    });
    expect(payloads.map(inKeyOrder).map(text).toSorted()).toEqual(wanted.map(text).toSorted());
    const own = await feed.query<{ op: string; username: string }>(
      'select op, username from public.outbox order by id',
    );
    const line = ({ op, username }: { op: string; username: string }) => `${op.toUpperCase()} ${username}`;
    expect(own.map(line).toSorted()).toEqual(logged.map(line).toSorted());
    const [request] = await feed.query(`insert into supabase_functions.requests default values returning 1 as one`);
    expect(request).toBeDefined();
    await sent(feed);

    await feed.sync();
    expect(await sent(feed)).toEqual([]);
    await feed.expectMirrorEqualsPool({ anyAttributeOrder: true });
  },
);
