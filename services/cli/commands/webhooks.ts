import type pg from 'pg';
import { UserFacingError } from '../../../shared/errors.ts';
import { closePostgres, connectPostgres, withClient } from '../../../shared/postgres.ts';
import { checkMigrations } from '../../../shared/postgres-check.ts';
import { type DeadLetter, deadLetters, redeliver } from '../../publisher/dead-letters.ts';
import type { CommandContext } from '../command.ts';

/** The dead letters, of all targets: a line each, or with `--json` a JSON line. */
export async function webhooksList(context: CommandContext): Promise<number> {
  const { options, stdout, signal } = context;
  const line = options['json'] === true ? jsonLine : textLine;
  await inEachDatabase(context, async (postgres, pools) => {
    for await (const page of deadLetters(postgres, pools)) {
      for (const letter of page) stdout.write(`${line(letter)}\n`);
      if (signal.aborted) return;
    }
  });
  return 0;
}

/**
 * Puts dead letters back among what is to be delivered.
 * @returns 1 where one of them can't be
 */
export async function webhooksRedeliver(context: CommandContext): Promise<number> {
  const { args, stdout, stderr } = context;
  const ids = [...new Set(args)];
  const bad = ids.filter((id) => !/^\d{1,18}$/.test(id));
  if (bad.length > 0) throw new UserFacingError(`${bad.join(', ')}: no id, as webhooks list gives them`, 2);
  const left = new Map(ids.map((id) => [id, 'there is no such dead letter']));
  await inEachDatabase(context, async (postgres, pools) => {
    for (const id of [...left.keys()]) {
      const result = await redeliver(postgres, id, pools);
      if (result === 'gone') left.set(id, 'its change has left the change log');
      if (result === 'no-target') left.set(id, 'its target has no subscription any more');
      if (result !== 'queued') continue;
      left.delete(id);
      stdout.write(`${id}: will be delivered by the publisher that runs, or the next one to run\n`);
    }
  });
  for (const [id, reason] of left) stderr.write(`${id}: ${reason}\n`);
  return left.size === 0 ? 0 : 1;
}

const textLine = ({ id, subscription, pool, lsn, seq, tries, failedAt, reason, kept }: DeadLetter): string =>
  [
    ...[id, subscription, pool, `lsn ${lsn} seq ${seq}`, `${tries} tries`, failedAt.toISOString()],
    kept ? reason : `${reason} (no longer in the change log)`,
  ].join('\t');

const jsonLine = ({ id, kept, ...letter }: DeadLetter): string =>
  JSON.stringify({ id: Number(id), ...letter, redeliverable: kept });

/** Pools of one database share its tables. `--pool` chooses; else all pools there, those of other settings too. */
async function inEachDatabase(
  { settings }: CommandContext,
  work: (postgres: pg.Pool, pools: readonly string[] | null) => Promise<void>,
): Promise<void> {
  const { chosenPool } = settings;
  const databases = new Map(settings.pools.map((pool) => [pool.databaseUrl, pool]));
  for (const { databaseUrl, databaseAuth } of databases.values()) {
    const auth = databaseAuth ?? 'password';
    const postgres = connectPostgres({ url: databaseUrl, auth, applicationName: 'cognito-feed webhooks', max: 1 });
    try {
      await withClient(postgres, checkMigrations);
      await work(postgres, chosenPool === null ? null : [chosenPool]);
    } finally {
      await closePostgres(postgres);
    }
  }
}
