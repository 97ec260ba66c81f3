/**
 * A second look at users that pool, mirror and snapshot seemed to disagree about: mirror and snapshot as of one commit.
 */
import type pg from 'pg';
import { sleep } from '../../../shared/clock.ts';
import { fingerprintOf } from '../../../shared/fingerprint.ts';
import { transaction } from '../../../shared/postgres.ts';
import type { SnapshotReader, View } from '../../../shared/snapshot.ts';
import type { Row } from '../../../shared/user.ts';
import { isStandIn } from '../../../shared/user.ts';
import { mirrorRowsOf } from '../../writer/mirror-reader.ts';
import type { Standing } from './differences.ts';

export interface LookDoors {
  readonly postgres: pg.Pool;
  readonly snapshot: SnapshotReader;
  readonly pool: string;
  /** The mirror's name, quoted. */
  readonly mirror: string;
  readonly signal: AbortSignal;
  readonly patience: {
    /** The commit at which the snapshot stands still while the slot is elsewhere; null: it isn't known to. */
    lostAt: string | null;
  };
}

/** A resync came in between: what was read so far is of another history. */
export class TimelineEnded extends Error {
  override readonly name = 'TimelineEnded';
}

/** What mirror and snapshot hold now of some users, beside what the pool was seen to hold. */
export interface Looked extends Standing {
  /** The sub of another user, who has this one's username in the mirror. */
  readonly occupiedBy: string | null;
}

/** A batch's commit and the snapshot's advance are milliseconds apart; a writer that died in between leaves them so. */
const TRIES = 12;
const TRY_AGAIN_MS = 150;

/** @throws TimelineEnded */
export async function lookAgain(
  standings: readonly Standing[],
  timeline: string,
  { postgres, snapshot, pool, mirror, signal, patience }: LookDoors,
): Promise<Looked[]> {
  const subs = standings.map(({ sub }) => sub);
  const usernames = [
    ...new Set(
      standings.flatMap(({ pool: seen, row, entry }) => [seen, row, entry].flatMap((one) => one?.username ?? [])),
    ),
  ];
  for (let tries = 1; ; tries++) {
    signal.throwIfAborted();
    const now = await transaction(
      postgres,
      async (client) => {
        const { rows } = await client.query<{ timeline: string; commit: string }>(
          'select timeline::text, commit_id::text as commit from cognito_feed.slots where pool = $1',
          [pool],
        );
        return { slot: rows[0], found: await mirrorRowsOf(client, mirror, usernames) };
      },
      'repeatable read',
    );
    if (now.slot?.timeline !== timeline) throw new TimelineEnded();
    const owners = now.found.map(({ sub }) => sub);
    const view = await snapshot.read([...subs, ...owners]);
    const { pointer } = view;
    // Where the snapshot is of another timeline, or of none, there is nothing to wait for.
    if (pointer?.timeline === timeline && pointer.commit !== now.slot.commit && pointer.commit !== patience.lostAt) {
      if (tries >= TRIES) patience.lostAt = pointer.commit;
      await sleep(TRY_AGAIN_MS, signal);
      continue;
    }
    return standings.map((standing, i) => looked(standing, i, now.found, view, subs.length, timeline));
  }
}

function looked(
  { sub, pool, row: before, entry: knownBefore }: Standing,
  place: number,
  found: readonly { readonly row: Row; readonly sub: string }[],
  view: View,
  owners: number,
  timeline: string,
): Looked {
  const entry = view.known[place]?.entry ?? null;
  const names = [pool, before, knownBefore].flatMap((one) => one?.username ?? []);
  const under = found.map((one, i) => ({ ...one, home: view.known[owners + i]?.entry?.username }));
  const mine = under.find(({ row, sub: owner, home }) => {
    if (!names.includes(row.username)) return false;
    // A row whose sub belongs elsewhere is a copy made by hand, known by a stand-in.
    return (
      owner === sub || (isStandIn(sub) && sub === `?${row.username}` && home !== undefined && home !== row.username)
    );
  });
  const occupant = under.find(({ row }) => row.username === pool?.username);
  return {
    sub,
    pool,
    row: mine === undefined ? null : { username: mine.row.username, fingerprint: fingerprintOf(mine.row, timeline) },
    entry,
    occupiedBy: occupant === undefined || occupant === mine ? null : occupant.sub,
  };
}
