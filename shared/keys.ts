/**
 * Names in Redis. Everything of one mirror carries one hash tag, so that it lives in one slot of a cluster and so that two mirrors can
 * share one Redis.
 */
import { hash } from 'node:crypto';

/** What makes a mirror that mirror, whatever pool it is filled from or name it is reached by. */
export interface MirrorIdentity {
  readonly pool: string;
  /** Postgres's own identifier of the cluster (pg_control_system) and the database's name in it. */
  readonly systemIdentifier: string;
  readonly database: string;
  /** As `schema.table`. */
  readonly target: string;
}

/** `{cf-…}`: also the prefix of the mirror's BullMQ queues. */
export type MirrorTag = string & { readonly unit: 'mirror-tag' };

export function mirrorTag(identity: MirrorIdentity): MirrorTag {
  const text = [identity.pool, identity.systemIdentifier, identity.database, identity.target].join('\0');
  return `{cf-${hash('sha256', text, 'hex').slice(0, 12)}}` as MirrorTag;
}

export const keys = {
  mirrors: 'cognito-feed:mirrors',
  budget: (region: string) => `cognito-feed:budget:{${region}}`,
  snapshot: (tag: MirrorTag) => `${tag}:snapshot`,
  clock: (tag: MirrorTag) => `${tag}:clock`,
  generations: (tag: MirrorTag) => `${tag}:generations`,
  held: (tag: MirrorTag) => `${tag}:held`,
  /** There while a rebuild of the snapshot moves. */
  rebuild: (tag: MirrorTag) => `${tag}:rebuild`,
  /** Jobs that nobody could read: id and reason. */
  parked: (tag: MirrorTag) => `${tag}:parked`,
  lease: (tag: MirrorTag) => `${tag}:lease`,
  /** When somebody last asked for a scan (observation time). */
  wanted: (tag: MirrorTag) => `${tag}:wanted`,
  /** The scan under way, and how the last one ended. */
  scans: (tag: MirrorTag) => `${tag}:scan`,
  /** How far each shard of a scan has come. */
  progress: (tag: MirrorTag, scan: string) => `${tag}:scan:${scan}`,
  /** Whom a scan has seen, by class (services/poller/seen.ts). */
  seen: (tag: MirrorTag, scan: string, group: number) => `${tag}:scan:${scan}:seen:${group}`,
  /** With CONFIRM_WITH_ADMIN_GET_USER=false: whom an earlier scan has missed once. */
  suspects: (tag: MirrorTag) => `${tag}:suspects`,
  /** Subs that refreshes were about to delete since the last complete scan began, by the time of the look. */
  refreshedDeletes: (tag: MirrorTag) => `${tag}:refreshed-deletes`,
  /** When somebody was last looked at by a refresh, and how often. `id`: a hash. */
  look: (tag: MirrorTag, id: string) => `${tag}:look:${id}`,
  /** Events seen before: ids by time. */
  events: (tag: MirrorTag) => `${tag}:events`,
  /** There while no event may bring the next scan forward again. */
  hurried: (tag: MirrorTag) => `${tag}:hurried`,
  /** What became of hints (shared/hint-record.ts). */
  hints: (tag: MirrorTag) => `${tag}:hints`,
  /** Who was in a hot lane at its last complete walk. */
  lane: (tag: MirrorTag, status: string) => `${tag}:lane:${status}`,
  /** How each lane's last walk came out. */
  lanes: (tag: MirrorTag) => `${tag}:lanes`,
  laneLease: (tag: MirrorTag) => `${tag}:lanes:lease`,
} as const;

export const queues = { scans: 'scans', shards: 'shards', changes: 'changes', refresh: 'refresh' } as const;
