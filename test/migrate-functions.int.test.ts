/** The writer's SQL functions, on values that Cognito gives and on what a hand may leave in the mirror. */
import { describe, expect, inject, test } from 'vitest';
import { migrate } from '../services/writer/migrate.ts';
import { connected, freshDatabase } from './fresh-database.ts';

/** [attributes as JSON text, its sub]; null is SQL's null. */
const SUBS: readonly (readonly [string | null, string | null])[] = [
  ['[{"sub": "a"}, {"email": "b"}]', 'a'],
  ['[{"email": "b"}, {"sub": "ä \\"1\\""}]', 'ä "1"'],
  [
    '[{"sub": ""}, {"sub": null}, {"sub": 5}, {"sub": ["k"]}, {"sub": {"sub": "q"}}, {"sub": "first"}, {"sub": "second"}]',
    'first',
  ],
  ['[{"sub": " "}]', ' '],
  ['[{"email": "b", "sub": "two keys"}]', 'two keys'],
  ['[1, "sub", null, true, [], [{"sub": "nested"}], {"x": 1}, {"sub": "z"}]', 'z'],
  ['[[{"sub": "nested"}]]', null],
  ['[{"sub": {"sub": "deep"}}]', null],
  ['[{"Sub": "x"}, {"sub ": "x"}]', null],
  ['{"sub": "an object, no array"}', null],
  ['"sub"', null],
  ['5', null],
  ['true', null],
  ['null', null],
  ['[]', null],
  ['{}', null],
  [null, null],
];

const PAIRS: readonly (readonly [string | null, string | null, boolean])[] = [
  ['[{"a": "1"}, {"b": null}]', '[{"a": "1"}, {"b": null}]', true],
  ['[{"a": "1"}, {"b": null}]', '[{"b": null}, {"a": "1"}]', true],
  ['[{"a": "1"}, {"b": null}]', '[{"b": ""}, {"a": "1"}]', false],
  ['[{"a": "1"}]', '[{"a": "1"}, {"b": "2"}]', false],
  ['[{"a": "1"}, {"a": "1"}, {"a": "2"}]', '[{"a": "1"}, {"a": "2"}, {"a": "2"}]', false],
  ['[{"a": "1"}, {"a": "2"}]', '[{"a": "2"}, {"a": "1"}]', true],
  ['[{"a": "1", "b": "2"}]', '[{"b": "2", "a": "1"}]', true],
  ['[{"a": "1", "b": "2"}]', '[{"a": "1"}, {"b": "2"}]', false],
  ['[1, "x", null, [2, 3]]', '[[2, 3], null, "x", 1]', true],
  ['[[2, 3]]', '[[3, 2]]', false],
  ['{"a": 1}', '{"a": 1}', true],
  ['{"a": 1}', '[{"a": 1}]', false],
  ['5', '5', true],
  ['5', '[5]', false],
  ['null', 'null', true],
  ['null', null, false],
  [null, '[]', false],
  ['[]', '{}', false],
  ['[]', '[]', true],
  [null, null, true],
];

const row = (columns: object, attributes: unknown): string =>
  JSON.stringify({
    username: 'u',
    email: 'e',
    status: 'CONFIRMED',
    enabled: true,
    created_at: null,
    updated_at: null,
    ...columns,
    attributes,
  });

const CHANGES: readonly (readonly [what: string, string | null, string | null, readonly string[]])[] = [
  ['nothing', row({}, [{ a: '1' }, { b: '2' }]), row({}, [{ b: '2' }, { a: '1' }]), []],
  [
    'an e-mail: column and attribute',
    row({ email: 'old' }, [{ sub: 's' }, { email: 'old' }]),
    row({ email: 'new' }, [{ email: 'new' }, { sub: 's' }]),
    ['email', 'attributes.email'],
  ],
  [
    'every column, in order',
    row({}, []),
    row(
      {
        updated_at: '2024-01-01T00:00:00',
        created_at: '2024-01-01T00:00:00',
        enabled: false,
        status: 'x',
        email: null,
        username: 'v',
      },
      [],
    ),
    ['username', 'email', 'status', 'enabled', 'created_at', 'updated_at'],
  ],
  [
    'attributes added, removed, changed, set to null and kept, by the order of bytes',
    row({}, [{ removed: '1' }, { changed: '1' }, { nulled: '1' }, { kept: '1' }, { é: '1' }]),
    row({}, [{ kept: '1' }, { Zadded: '1' }, { nulled: null }, { changed: '2' }, { 'custom:x y': '' }]),
    [
      'attributes.Zadded',
      'attributes.changed',
      'attributes.custom:x y',
      'attributes.nulled',
      'attributes.removed',
      'attributes.é',
    ],
  ],
  ['an attribute whose value was null', row({}, [{ a: null }]), row({}, []), ['attributes.a']],
  ['one that is there twice', row({}, [{ a: '1' }, { a: '2' }]), row({}, [{ a: '2' }, { a: '1' }]), []],
  ['one that is there once more', row({}, [{ a: '1' }, { a: '1' }]), row({}, [{ a: '1' }]), ['attributes.a']],
  [
    'an element of two keys taken apart',
    row({}, [{ a: '1', b: '2' }]),
    row({}, [{ a: '1' }, { b: '3' }]),
    ['attributes.b'],
  ],
  ['junk put right', row({ email: null }, 'junk'), row({}, [{ a: '1' }]), ['email', 'attributes.a']],
  ['junk among the elements', row({}, [1, null, 'x', [{ y: '1' }], { a: '1' }]), row({}, [{ a: '1' }]), []],
  ['an object, no array', row({}, { a: '1' }), row({}, [{ a: '1' }]), ['attributes.a']],
  ['SQL null before', row({}, null), row({}, [{ a: '1' }]), ['attributes.a']],
  [
    'no old row',
    null,
    row({ email: null, enabled: null }, [{ a: '1' }]),
    ['username', 'email', 'status', 'enabled', 'created_at', 'updated_at', 'attributes.a'],
  ],
  ['no rows at all', null, null, []],
  ['no rows but scalars', '5', '"x"', []],
];

describe.each(['postgres15', 'postgres18'] as const)('%s', (server) => {
  async function migrated() {
    const pool = connected((await freshDatabase(inject(server))).url);
    await migrate(pool, { targets: [{ schema: 'cognito', name: 'users' }], publication: null, roles: false });
    return pool;
  }
  /** Once with values from a table, once with constants that the planner may fold. */
  async function both(
    pool: Awaited<ReturnType<typeof migrated>>,
    call: string,
    values: readonly (string | null)[],
  ): Promise<unknown> {
    const names = values.map((_, i) => `$${i + 1}::text::jsonb`);
    const literals = values.map((value) =>
      value === null ? 'null::jsonb' : `'${value.replaceAll("'", "''")}'::jsonb`,
    );
    const arguments_ = values.map((_, i) => `column${i + 1}`).join(', ');
    const [variable, constant] = await Promise.all([
      pool.query(
        `select cognito_feed.${call}(${arguments_}) as result from (values (${names.join(', ')}), (${names.join(', ')})) v`,
        [...values],
      ),
      pool.query(`select cognito_feed.${call}(${literals.join(', ')}) as result`),
    ]);
    expect(variable.rows).toEqual([...constant.rows, ...constant.rows]);
    return constant.rows[0].result;
  }

  test('sub_of', async () => {
    const pool = await migrated();
    for (const [attributes, sub] of SUBS)
      expect([attributes, await both(pool, 'sub_of', [attributes])]).toEqual([attributes, sub]);
  });

  test('same_attributes, both ways round', async () => {
    const pool = await migrated();
    for (const [a, b, same] of PAIRS) {
      expect([a, b, await both(pool, 'same_attributes', [a, b])]).toEqual([a, b, same]);
      expect([b, a, await both(pool, 'same_attributes', [b, a])]).toEqual([b, a, same]);
    }
  });

  test('changed_columns', async () => {
    const pool = await migrated();
    for (const [what, old, now, changed] of CHANGES) {
      expect([what, await both(pool, 'changed_columns', [old, now])]).toEqual([what, changed]);
    }
  });

  test('of real rows, whatever the session: search_path, DateStyle, a table and an operator of the same name', async () => {
    const pool = await migrated();
    const client = await pool.connect();
    await client.query(`create schema trap;
      create function trap.jsonb_typeof(jsonb) returns text language sql as $$ select 'trapped' $$;
      create function trap.never(jsonb, jsonb) returns boolean language sql as 'select false';
      create operator trap.= (function = trap.never, leftarg = jsonb, rightarg = jsonb);
      set search_path = trap, pg_catalog; set DateStyle = 'German'; set TimeZone = 'Asia/Tokyo';
      insert into cognito.users values ('u', 'e', 'x', true, '2024-02-29 23:59:59.999', null, '[{"sub": "s"}, {"email": "e"}]')`);
    const { rows } = await client.query(
      `select cognito_feed.sub_of(attributes) as sub, cognito_feed.same_attributes(attributes, '[{"email": "e"}, {"sub": "s"}]') as same,
         cognito_feed.changed_columns(to_jsonb(u), to_jsonb(u) || '{"created_at": "2024-02-29T23:59:59.999", "enabled": false}') as changed
       from cognito.users u`,
    );
    client.release(true);
    expect(rows).toEqual([{ sub: 's', same: true, changed: ['enabled'] }]);
  });

  test('are immutable and parallel safe, so that an index may use them', async () => {
    const pool = await migrated();
    const { rows } = await pool.query(
      `select proname, provolatile::text, proparallel::text from pg_proc where pronamespace = 'cognito_feed'::regnamespace order by 1`,
    );
    expect(rows).toEqual(
      ['changed_columns', 'same_attributes', 'sub_of'].map((proname) => ({
        proname,
        provolatile: 'i',
        proparallel: 's',
      })),
    );
    await pool.query('create index on cognito.users (cognito_feed.sub_of(attributes))');
  });
});
