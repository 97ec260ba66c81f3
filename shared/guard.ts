/**
 * The delete guard. The poller counts the users that a scan misses by it, the writer the usernames that a scan replaces.
 */
export interface GuardLimits {
  readonly count: number | null;
  readonly percent: number | null;
}

/**
 * Whether so many deletes are too many to believe: more than both limits. A limit of null no longer counts; both null: never.
 */
export function trips(deletes: number, mirrorUsers: number, { count, percent }: GuardLimits): boolean {
  if (count === null && percent === null) return false;
  return (count === null || deletes > count) && (percent === null || deletes > (mirrorUsers * percent) / 100);
}
