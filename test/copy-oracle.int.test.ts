/** What goes in by COPY must be what goes in by parameters: Postgres itself judges. And what is read back must have the fingerprint that was sent. */
import fc from 'fast-check';
import type pg from 'pg';
import { describe, expect, inject, test } from 'vitest';
import { attributesJson } from '../services/writer/copy.ts';
import type { Staged } from '../services/writer/ledger.ts';
import { mirrorRows } from '../services/writer/mirror-reader.ts';
import { stage } from '../services/writer/mirror-sql.ts';
import { fingerprintOf } from '../shared/fingerprint.ts';
import { withClient } from '../shared/postgres.ts';
import { type CognitoUser, type Row, rowOf } from '../shared/user.ts';
import { connected, freshDatabase } from './fresh-database.ts';

const TIMELINE = '00000000-0000-4000-8000-000000000001';

/** Characters and sequences that mean something to COPY, JSON, SQL or UTF-8, beside all others. */
const SPECIAL = [
  ...[
    '\\',
    '\\\\',
    '\\.',
    '\n\\.\n',
    '\\N',
    '\\n',
    '\\x41',
    '\\101',
    '\t',
    '\n',
    '\r',
    '\r\n',
    '\b',
    '\f',
    '\v',
    '"',
    "'",
    '{}',
    ',',
    '\0',
  ],
  ...[
    '\ud800',
    '\udfff',
    '\udc00\ud800',
    '\u007f',
    '\u0085',
    '\u2028',
    '\ufeff',
    '\ufffe',
    '\uffff',
    '\ufffd',
    '\u{10ffff}',
    '\u{1f600}',
  ],
];
const text = (maxLength = 20): fc.Arbitrary<string> =>
  fc
    .array(fc.oneof(fc.constantFrom(...SPECIAL), fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })), {
      maxLength,
    })
    .map((parts) => parts.join(''));

/** Any instant that a timestamp to the millisecond of the years 1 to 9999 can be. */
const date = fc.date({
  min: new Date('0001-01-01T00:00:00Z'),
  max: new Date('9999-12-31T23:59:59.999Z'),
  noInvalidDate: true,
});
const absent = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 6 });

const user: fc.Arbitrary<CognitoUser> = fc.record({
  Username: text(6),
  Attributes: fc.array(
    fc.record({ Name: fc.oneof(fc.constantFrom('email', 'sub', '__proto__'), text(3)), Value: absent(text()) }),
    { maxLength: 8 },
  ),
  UserCreateDate: absent(date),
  UserLastModifiedDate: absent(date),
  Enabled: absent(fc.boolean()),
  UserStatus: absent(text(3)),
});

/** No two of one name, as in a pool. */
const rows = fc
  .uniqueArray(user, { minLength: 1, maxLength: 40, selector: (one) => rowOf(one).username })
  .map((users) => users.map(rowOf));

const COLUMNS = 'username, email, status, enabled, created_at, updated_at, attributes';

/** The same rows, each value by a parameter of its own. */
async function insertByParameters(client: pg.ClientBase, table: string, all: readonly Row[]): Promise<void> {
  // By whole days and milliseconds: node-postgres would give its own text of a Date, and seconds with a fraction are rounded.
  const instant = (n: number) =>
    `timestamp 'epoch' + ($${n}::bigint / 86400000) * interval '1 day' + ($${n}::bigint % 86400000) * interval '1 millisecond'`;
  for (const [n, row] of all.entries()) {
    await client.query(
      `insert into ${table} (n, ${COLUMNS}) values ($1, $2, $3, $4, $5, ${instant(6)}, ${instant(7)}, $8::jsonb)`,
      [n, row.username, row.email, row.status, row.enabled, row.createdAt, row.updatedAt, jsonOf(row)],
    );
  }
}

const jsonOf = (row: Row) => JSON.stringify(row.attributes.map(([name, value]) => Object.fromEntries([[name, value]])));

/** Rolled back: each example finds an empty table. */
async function inTransaction(client: pg.ClientBase, work: () => Promise<void>): Promise<void> {
  await client.query('begin');
  try {
    await work();
  } finally {
    await client.query('rollback');
  }
}

describe.each(['postgres15', 'postgres18'] as const)('on %s', (major) => {
  test('COPY stages what parameters would have stored, for any text of any plane', async () => {
    const postgres = connected((await freshDatabase(inject(major))).url);
    await withClient(postgres, async (client) => {
      await fc.assert(
        fc.asyncProperty(rows, async (all) => {
          await inTransaction(client, async () => {
            const staged = all.map((row, n): Staged => {
              const upsert = {
                kind: 'upsert',
                sub: 's',
                fingerprint: fingerprintOf(row, TIMELINE),
                observedAt: 0,
                row,
              } as const;
              return { n, username: row.username, change: upsert };
            });
            await stage(client, staged);
            await client.query('create temporary table oracle (like cognito_feed_staging) on commit drop');
            await insertByParameters(client, 'oracle', all);
            const { rows: differing } = await client.query(
              `select n from (select n, ${COLUMNS}, attributes::text from cognito_feed_staging
                 except all select n, ${COLUMNS}, attributes::text from oracle) d`,
            );
            expect(differing.map(({ n }: { n: number }) => all[n])).toEqual([]);
            const { rows: counts } = await client.query(
              'select (select count(*) from cognito_feed_staging)::int as staged, (select count(*) from oracle)::int as wanted',
            );
            expect(counts).toEqual([{ staged: all.length, wanted: all.length }]);
          });
        }),
        { numRuns: 60 },
      );
    });
  });

  test('a row read back from the mirror has the fingerprint of the record it came from, in whatever order the attributes are', async () => {
    const { migrate } = await import('../services/writer/migrate.ts');
    const postgres = connected((await freshDatabase(inject(major))).url);
    await migrate(postgres, { targets: [{ schema: 'cognito', name: 'users' }], publication: 'p', roles: false });
    await withClient(postgres, async (client) => {
      await fc.assert(
        fc.asyncProperty(rows, fc.infiniteStream(fc.nat()), async (all, numbers) => {
          await inTransaction(client, async () => {
            await stage(
              client,
              all.map((row, n) => ({
                n,
                username: row.username,
                change: { kind: 'upsert', sub: 's', fingerprint: fingerprintOf(row, TIMELINE), observedAt: 0, row },
              })),
            );
            await client.query(`insert into cognito.users (${COLUMNS}) select ${COLUMNS} from cognito_feed_staging`);
            const read = new Map<string, Row>();
            for await (const some of mirrorRows(client, 'cognito.users'))
              for (const { row } of some) read.set(row.username, row);
            expect(read.size).toBe(all.length);
            for (const row of all) {
              const wanted = fingerprintOf(row, TIMELINE);
              expect(fingerprintOf(read.get(row.username) as Row, TIMELINE)).toBe(wanted);
              expect(fingerprintOf({ ...row, attributes: shuffled(row.attributes, numbers) }, TIMELINE)).toBe(wanted);
            }
          });
        }),
        { numRuns: 60 },
      );
    });
  });
});

/** Of attributes of one name the order stays: it tells which value counts. */
function shuffled(attributes: Row['attributes'], numbers: Iterator<number>): Row['attributes'] {
  const places = new Map<string, number>();
  for (const [name] of attributes) if (!places.has(name)) places.set(name, numbers.next().value ?? 0);
  return attributes.toSorted(([a], [b]) => (places.get(a) ?? 0) - (places.get(b) ?? 0));
}

test('attributes are written as the foreign table gives them', () => {
  expect(
    attributesJson([
      ['sub', 'x'],
      ['custom:"q"', null],
    ]),
  ).toBe('[{"sub": "x"}, {"custom:\\"q\\"": null}]');
});
