/**
 * What becomes of the users that a complete scan has not seen: cleared, deleted, or held.
 */
import type { Delete, Upsert } from '../../shared/change.ts';
import { type GuardLimits, trips } from '../../shared/guard.ts';
import type { Look, Proof, Suspect } from './proof.ts';

export interface MissingDoors {
  readonly look: (suspect: Suspect) => Promise<Look>;
  readonly prove: (suspect: Suspect) => Promise<Proof>;
  /** Of these, who stands held since an earlier scan: looked for then, and not found. */
  readonly heldAlready: (suspects: readonly Suspect[]) => Promise<ReadonlySet<string>>;
  readonly remove: (deletes: readonly Delete[]) => Promise<void>;
  /** The exact look has shown them after all. */
  readonly shown: (observed: readonly Upsert[]) => Promise<void>;
  readonly hold: (suspects: readonly Suspect[], reason: string) => Promise<void>;
}

export interface MissingSettings {
  readonly guard: GuardLimits;
  readonly mirrorUsers: number;
  /** Users whom refreshes have deleted since the last complete scan began: the guard counts them as if this scan had missed them. */
  readonly refreshedDeletes?: number;
  /** null: AdminGetUser is asked. Else: who was missed by an exact look of an earlier scan, and how this one's are noted. */
  readonly earlier: {
    readonly missed: (sub: string) => boolean;
    readonly note: (subs: readonly string[]) => Promise<void>;
  } | null;
}

export interface MissingOutcome {
  suspects: number;
  cleared: number;
  deleted: number;
  held: number;
}

/** Suspects that are looked for side by side; the budget spaces their requests. */
const SIDE_BY_SIDE = 4;
/** Users in one message to the writer. */
const PIECE = 500;

interface Candidate {
  readonly suspect: Suspect;
  /** When an exact look of this scan missed it; null: an earlier scan's did. */
  readonly missedAt: number | null;
}

/**
 * @param suspects as they are found; never all in memory: past the guard they are only passed on
 */
export async function settleMissing(
  suspects: AsyncIterable<Suspect>,
  doors: MissingDoors,
  settings: MissingSettings,
): Promise<MissingOutcome> {
  const { guard, mirrorUsers, refreshedDeletes = 0 } = settings;
  const outcome: MissingOutcome = { suspects: 0, cleared: 0, deleted: 0, held: 0 };
  const unguarded = guard.count === null && guard.percent === null;
  let candidates: Candidate[] = [];
  let toHold: Suspect[] = [];
  let tripped = false;

  for await (const some of gathered(suspects, SIDE_BY_SIDE)) {
    outcome.suspects += some.length;
    if (tripped) {
      toHold.push(...some);
    } else {
      const held = unguarded ? new Set<string>() : await doors.heldAlready(some);
      candidates.push(
        ...(await lookFor(
          some.map((suspect) => ({ suspect, known: held.has(suspect.sub) })),
          doors,
          outcome,
        )),
      );
      tripped = trips(candidates.length + refreshedDeletes, mirrorUsers + refreshedDeletes, guard);
      if (tripped) {
        toHold = candidates.map(({ suspect }) => suspect);
        candidates = [];
      } else if (unguarded && candidates.length >= PIECE) {
        await settle(candidates, doors, settings, outcome);
        candidates = [];
      }
    }
    if (toHold.length >= PIECE) await holdAll(toHold.splice(0), GUARD_REASON, doors, outcome);
  }
  if (toHold.length > 0) await holdAll(toHold, GUARD_REASON, doors, outcome);
  await settle(candidates, doors, settings, outcome);
  return outcome;
}

const GUARD_REASON = 'more users missing than the delete guard allows';

async function lookFor(
  some: readonly { readonly suspect: Suspect; readonly known: boolean }[],
  doors: MissingDoors,
  outcome: MissingOutcome,
): Promise<Candidate[]> {
  const shown: Upsert[] = [];
  const looked = await Promise.all(
    some.map(async ({ suspect, known }): Promise<Candidate | null> => {
      if (known) return { suspect, missedAt: null };
      const look = await doors.look(suspect);
      if (!look.shown) return { suspect, missedAt: look.observedAt };
      shown.push(look.observed);
      return null;
    }),
  );
  outcome.cleared += shown.length;
  if (shown.length > 0) await doors.shown(shown);
  return looked.filter((candidate) => candidate !== null);
}

/** Few enough to be believed: each is proved, and deleted or held by what the proof says. */
async function settle(
  all: readonly Candidate[],
  doors: MissingDoors,
  { earlier }: MissingSettings,
  outcome: MissingOutcome,
): Promise<void> {
  const again = all.filter(({ missedAt }) => missedAt === null).map(({ suspect }) => ({ suspect, known: false }));
  const candidates = [...all.filter(({ missedAt }) => missedAt !== null), ...(await lookFor(again, doors, outcome))];
  if (earlier !== null) return await settleByTwoLooks(candidates, doors, earlier, outcome);
  let deletes: Delete[] = [];
  for (const { suspect } of candidates) {
    const proof = await doors.prove(suspect);
    if (proof.verdict === 'proved') deletes.push({ kind: 'delete', ...suspect, observedAt: proof.observedAt });
    else if (proof.verdict === 'exists') outcome.cleared++;
    else await holdAll([suspect], proof.reason, doors, outcome);
    if (deletes.length >= PIECE) {
      await removeAll(deletes, doors, outcome);
      deletes = [];
    }
  }
  await removeAll(deletes, doors, outcome);
}

/** CONFIRM_WITH_ADMIN_GET_USER=false: a second exact look, a scan later, has to do for a proof. */
async function settleByTwoLooks(
  candidates: readonly Candidate[],
  doors: MissingDoors,
  earlier: NonNullable<MissingSettings['earlier']>,
  outcome: MissingOutcome,
): Promise<void> {
  const twice = candidates.filter(({ suspect }) => earlier.missed(suspect.sub));
  await removeAll(
    twice.map(({ suspect, missedAt }): Delete => ({ kind: 'delete', ...suspect, observedAt: missedAt ?? 0 })),
    doors,
    outcome,
  );
  await earlier.note(candidates.filter((candidate) => !twice.includes(candidate)).map(({ suspect }) => suspect.sub));
}

async function removeAll(deletes: readonly Delete[], doors: MissingDoors, outcome: MissingOutcome): Promise<void> {
  if (deletes.length === 0) return;
  await doors.remove(deletes);
  outcome.deleted += deletes.length;
}

async function holdAll(
  suspects: readonly Suspect[],
  reason: string,
  doors: MissingDoors,
  outcome: MissingOutcome,
): Promise<void> {
  for (let at = 0; at < suspects.length; at += PIECE) await doors.hold(suspects.slice(at, at + PIECE), reason);
  outcome.held += suspects.length;
}

async function* gathered<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let some: T[] = [];
  for await (const item of items) {
    some.push(item);
    if (some.length === size) {
      yield some;
      some = [];
    }
  }
  if (some.length > 0) yield some;
}
