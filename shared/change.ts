/**
 * What travels through the queue `changes`, from poller to writer. One schema is the type, the validator and the wire format;
 * both ends check it. Times are milliseconds since the epoch by Redis's clock (observations) or Cognito's (rows).
 */
import { z } from 'zod';
import type { Fingerprint } from './fingerprint.ts';

/** One more with every change of meaning. A writer leaves the jobs of a later version to a later writer. */
export const WIRE_VERSION = 1;

const time = z.number().nullable();
const row = z.strictObject({
  username: z.string(),
  email: z.string().nullable(),
  status: z.string().nullable(),
  enabled: z.boolean().nullable(),
  createdAt: time,
  updatedAt: time,
  attributes: z.array(z.tuple([z.string(), z.string().nullable()])),
});

const fingerprint = z.custom<Fingerprint>((value) => typeof value === 'string' && /^[0-9a-f]{16}$/.test(value));
const observedAt = z.int().nonnegative();

/** The user was seen so. */
const upsert = z.strictObject({ kind: z.literal('upsert'), sub: z.string().min(1), fingerprint, observedAt, row });
/** The user was proved gone; `observedAt` is when the proof's request began. */
const remove = z.strictObject({ kind: z.literal('delete'), sub: z.string().min(1), username: z.string(), observedAt });
const change = z.discriminatedUnion('kind', [upsert, remove]);

const envelope = {
  v: z.literal(WIRE_VERSION),
  pool: z.string().min(1),
  timeline: z.string().min(1),
  /** The scan that it belongs to; null for a refresh. */
  scan: z.string().nullable(),
};

const batch = z.strictObject({ type: z.literal('batch'), ...envelope, changes: z.array(change).min(1) });

/** A scan is to begin: raise the floor to `floor`. */
const begin = z.strictObject({ type: z.literal('begin'), ...envelope, floor: z.int() });

const scanSummary = z.strictObject({
  seconds: z.number(),
  pages: z.int(),
  users: z.int(),
});

/** A complete scan has been applied: move `as_of`. */
const keepalive = z.strictObject({ type: z.literal('keepalive'), ...envelope, floor: z.int(), summary: scanSummary });

/** Users whom a scan misses and whose deletion waits for an operator. */
const hold = z.strictObject({
  type: z.literal('hold'),
  ...envelope,
  floor: z.int(),
  reason: z.string(),
  users: z.array(z.strictObject({ sub: z.string().min(1), username: z.string() })).min(1),
});

const message = z.discriminatedUnion('type', [batch, begin, keepalive, hold]);

export type Upsert = z.infer<typeof upsert>;
export type Delete = z.infer<typeof remove>;
export type Change = Upsert | Delete;
export type Batch = z.infer<typeof batch>;
export type Begin = z.infer<typeof begin>;
export type Keepalive = z.infer<typeof keepalive>;
export type Hold = z.infer<typeof hold>;
export type Message = z.infer<typeof message>;
export type ScanSummary = z.infer<typeof scanSummary>;

export const usernameOf = (change: Change): string =>
  change.kind === 'upsert' ? change.row.username : change.username;

/** A payload that this version can't read. `newer`: a later version wrote it. Its message names fields, never values. */
export class UnreadableMessage extends Error {
  override readonly name = 'UnreadableMessage';
  readonly newer: boolean;
  constructor(problems: string, newer: boolean) {
    super(problems);
    this.newer = newer;
  }
}

/**
 * @throws UnreadableMessage
 */
export function parseMessage(data: unknown): Message {
  const parsed = message.safeParse(data, { reportInput: false });
  if (parsed.success) return parsed.data;
  const version = typeof data === 'object' && data !== null && 'v' in data ? data.v : undefined;
  if (typeof version === 'number' && version > WIRE_VERSION) {
    throw new UnreadableMessage(`written by version ${version}, this one reads ${WIRE_VERSION}`, true);
  }
  const problems = parsed.error.issues
    .slice(0, 3)
    .map((issue) => `${issue.path.join('.') || 'payload'}: ${issue.code}`);
  throw new UnreadableMessage(problems.join('; '), false);
}

/** The schema in JSON, for the test that pins it. */
export const wireSchema = (): unknown => z.toJSONSchema(message, { unrepresentable: 'any' });
