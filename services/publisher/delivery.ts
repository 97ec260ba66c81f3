/** A change on its way to a target. */
import type { LoggedChange, Position } from '../../shared/change-log.ts';

export interface Delivery {
  readonly position: Position;
  readonly timeline: string;
  readonly username: string;
  readonly sub: string;
  /** @see Lanes */
  readonly lanes: readonly string[];
  /** Its row; null: to be read again when its turn comes. */
  change: LoggedChange | null;
  tries: number;
  /** Milliseconds since the epoch. */
  firstTriedAt: number | null;
  nextTryAt: number | null;
  /** Why the last try failed, without values. */
  reason: string | null;
  /** Stands in `pending_deliveries`, or will with the next checkpoint. */
  durable: boolean;
  state: 'waiting' | 'ready' | 'flying' | 'delayed' | 'dead' | 'settled';
}

export function deliveryOf(change: LoggedChange): Delivery {
  const { lsn, seq, timeline, username, sub } = change;
  const fresh = { tries: 0, firstTriedAt: null, nextTryAt: null, reason: null, durable: false };
  return { position: { lsn, seq }, timeline, ...who(username, sub), change, ...fresh, state: 'waiting' };
}

/** What a row of `pending_deliveries` says. */
export type PendingRow = Pick<
  Delivery,
  'position' | 'timeline' | 'username' | 'sub' | 'tries' | 'firstTriedAt' | 'nextTryAt' | 'reason'
>;

export function deliveryOfPending({ username, sub, ...row }: PendingRow): Delivery {
  return { ...row, ...who(username, sub), change: null, durable: true, state: 'waiting' };
}

const who = (username: string, sub: string) => ({ username, sub, lanes: [`s${sub}`, `u${username}`] });

/** What a target says of one change. A reason holds no value and no secret. */
export type Outcome =
  | { readonly kind: 'delivered' }
  /** To be tried again. @property retryAfterMs what the receiver asked for; null: nothing */
  | { readonly kind: 'failed'; readonly reason: string; readonly retryAfterMs: number | null }
  /** Trying again is of no use. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** Cut off by the signal: nobody knows. */
  | { readonly kind: 'interrupted' };

/** Where changes go. */
export interface Target {
  /** Its subscription's name. */
  readonly name: string;
  /** Changes that one `deliver` takes at most. */
  readonly most: number;
  /** `deliver`s under way at once: never fewer than the first where there is work, never more than the second. */
  readonly parallel: readonly [least: number, most: number];
  wants(change: LoggedChange): boolean;
  /** Never throws. @returns an outcome for each change, in their order */
  deliver(changes: readonly LoggedChange[], signal: AbortSignal): Promise<readonly Outcome[]>;
  close(): void;
}
