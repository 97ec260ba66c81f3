import type { CommandContext } from '../command.ts';
import { withPostgres } from '../join.ts';

interface Held {
  readonly pool: string;
  readonly username: string;
  readonly sub: string;
  readonly since: string;
  readonly reason: string;
}

const PAGE = 1_000;
const HEADINGS: Held = { pool: 'POOL', username: 'USERNAME', sub: 'SUB', since: 'HELD SINCE', reason: 'REASON' };
const COLUMNS = ['pool', 'username', 'sub', 'since', 'reason'] as const;

/** A line for each held delete, a page of them at a time. */
export async function deletesList({ settings, stdout, signal }: CommandContext): Promise<number> {
  let any = false;
  for (const pool of settings.pools) {
    await withPostgres(pool, async (postgres) => {
      for (let after = ''; !signal.aborted; ) {
        const { rows } = await postgres.query<Held>(
          `select pool, username, sub, to_char(held_at, 'YYYY-MM-DD HH24:MI:SS"Z"') as since, reason from cognito_feed.held_deletes
           where pool = $1 and sub > $2 order by sub limit ${PAGE}`,
          [pool.poolId, after],
        );
        const last = rows.at(-1);
        if (last === undefined) break;
        stdout.write(table(any ? rows : [HEADINGS, ...rows]));
        any = true;
        after = last.sub;
      }
    });
  }
  if (!any) stdout.write('no deletes are held\n');
  return 0;
}

function table(rows: readonly Held[]): string {
  const widths = COLUMNS.map((column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      COLUMNS.map((column, i) => printable(row[column]).padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

/** A username is whatever somebody signed up with: none may move the cursor or break the line. */
const printable = (text: string): string => text.replaceAll(/\p{Cc}/gu, '\ufffd');
