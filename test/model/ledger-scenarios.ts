/**
 * One random history of batches, marks, refused rows, hand-made edits and resyncs, told to any ledger through the services' own code; and what is then in the
 * database, so that two ledgers' can be compared.
 */

import { agree } from '../../services/writer/agreement.ts';
import { apply } from '../../services/writer/apply.ts';
import type { Ledger } from '../../services/writer/ledger.ts';
import { begin, hold, keepalive } from '../../services/writer/scan-marks.ts';
import type { SnapshotStore } from '../../services/writer/snapshot-store.ts';
import type { Change } from '../../shared/change.ts';
import { fingerprintOf } from '../../shared/fingerprint.ts';
import { type Row, standInSub } from '../../shared/user.ts';
import { Random } from './random.ts';

/** What a database holds of a mirror, as rows that can be compared. */
export interface Contents {
  readonly mirror: readonly Row[];
  readonly log: readonly unknown[];
  readonly tombstones: readonly string[];
  readonly held: readonly string[];
  readonly rejects: readonly string[];
}

export interface LedgerDoor {
  readonly ledger: Ledger;
  readonly snapshot: SnapshotStore;
  readonly now: () => number;
  readonly contents: () => Promise<Contents>;
  /** As somebody with psql: changes one row, or removes it. */
  readonly edit: (username: string, what: 'email' | 'strip' | 'remove') => Promise<void>;
}

const POOL = 'eu-west-1_doors';
const USERNAMES = ['ann', 'bob', "o'hara", 'ümlaut', 'back\\slash', 'zoe'];

function rowOf(username: string, sub: string, version: number, base: number, random: Random): Row {
  const attributes: [string, string | null][] = [
    ['sub', sub],
    ['email', `${username}@example.com`],
    ['custom:n', version % 3 === 0 ? null : `${version} "quoted"\t\n\\N`],
  ];
  return {
    username,
    email: `${username}@example.com`,
    status: version % 2 === 0 ? 'CONFIRMED' : null,
    enabled: version % 5 !== 0,
    createdAt: base + Number(sub.slice(-4)) * 7,
    updatedAt: base + version * 11,
    attributes: random.shuffled(attributes),
  };
}

/** Counted, so that both ledgers get the same; UUIDs, because Postgres wants them. */
export function uuids(): () => string {
  let made = 0;
  return () => `00000000-0000-4000-8000-${String(++made).padStart(12, '0')}`;
}

/** After each turn, what `told` gives for the answer. */
export async function randomHistory(door: LedgerDoor, seed: number, told: (turn: unknown) => void): Promise<void> {
  const random = new Random(seed);
  const newId = uuids();
  const { ledger, snapshot } = door;
  const agreeing = {
    ledger,
    snapshot,
    clock: async () => door.now(),
    newId: () => newId().replace(/^0/, 'a'),
    wait: async () => undefined,
    onResync: () => undefined,
  };
  const toAgree = (occasion?: { reason: string; timeline: string }) => agree(agreeing, occasion);
  await toAgree();
  const base = 1_700_000_000_000;
  let at = door.now();
  for (let turn = 0; turn < 60; turn++) {
    const { timeline, floor } = await ledger.slot();
    const envelope = { v: 1, pool: POOL, timeline, scan: 'scan' } as const;
    const kind = random.below(12);
    at = Math.max(at + 1, door.now());
    if (kind < 7) {
      const changes = Array.from({ length: 1 + random.below(5) }, (): Change => {
        const username = random.pick(USERNAMES);
        const sub = `${random.pick(['a', 'b'])}0000000-0000-4000-8000-${String(10_000 + USERNAMES.indexOf(username)).padStart(12, '0')}`;
        const observedAt = Math.max(floor, at - random.below(3));
        if (random.chance(5))
          return { kind: 'delete', sub: random.chance(4) ? standInSub(username) : sub, username, observedAt };
        const row = rowOf(username, sub, random.below(12), base, random);
        return { kind: 'upsert', sub, fingerprint: fingerprintOf(row, timeline), observedAt, row };
      });
      const doors = { ledger, snapshot, agree: toAgree, newId, guard: { count: 2, percent: 50 } };
      told(await apply({ type: 'batch', ...envelope, changes }, doors));
    } else if (kind < 8) {
      told(await begin(ledger, { type: 'begin', ...envelope, floor: at }));
    } else if (kind < 9) {
      const summary = { seconds: 1, pages: 1, users: 1 };
      const { kept } = await keepalive(ledger, snapshot, { type: 'keepalive', ...envelope, floor, summary });
      told(kept);
    } else if (kind < 10) {
      const users = [{ sub: `held-${random.below(3)}`, username: random.pick(USERNAMES) }];
      told(await hold(ledger, { type: 'hold', ...envelope, floor, reason: 'asked', users }));
    } else if (kind < 11) {
      await door.edit(random.pick(USERNAMES), random.pick(['email', 'strip', 'remove']));
    } else {
      await toAgree({ reason: 'asked for', timeline });
    }
    const slot = await ledger.slot();
    told({ state: slot.state, lsn: slot.lsn, users: slot.users, replaced: slot.scanReplaced, owed: slot.resyncReason });
    told({ exact: slot.floor === Math.round(slot.floor), behind: slot.asOf === null ? null : slot.asOf <= slot.floor });
    told(await door.contents());
  }
}
