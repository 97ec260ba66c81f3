/**
 * What the emulator does wrong, on demand. One schema is the type, the validator and what POST /__control takes; every part can be
 * changed at run time. Nothing is wrong by default.
 */
import { z } from 'zod';

const probability = z.number().min(0).max(1);
const perSecond = z.number().int().positive().nullable();

/**
 * A rule for requests that fail. Rules are tried in order, the first that bites wins; a rule without conditions fits every request.
 * - `error`: an AWS error by name (`error`, `message`)
 * - `html`: a 502 page of a proxy in between
 * - `drop-before`: the connection is destroyed before the request is carried out
 * - `drop-middle`: it is carried out, but the connection is destroyed in the middle of the answer
 * - `hang`: no answer ever comes
 */
export const failureSchema = z.strictObject({
  kind: z.enum(['error', 'html', 'drop-before', 'drop-middle', 'hang']),
  error: z.string().default('InternalErrorException'),
  message: z.string().default('injected by the emulator'),
  /** Operation names, such as `AdminGetUser`. */
  operations: z.array(z.string()).optional(),
  pool: z.string().optional(),
  /** Only ListUsers: `any` filter, `none`, `exact` (`=`), `prefix` (`^=`), or `sub-prefix` (`sub ^=`). */
  filter: z.enum(['any', 'none', 'exact', 'prefix', 'sub-prefix']).optional(),
  /** Only requests with (or without) a pagination token. */
  token: z.boolean().optional(),
  /** So many fitting requests pass first. */
  skip: z.number().int().nonnegative().default(0),
  /** So many fail; null: until the rule is removed. */
  times: z.number().int().positive().nullable().default(null),
  /** The probability that a fitting request fails. */
  rate: probability.default(1),
});
export type Failure = z.infer<typeof failureSchema>;

/** A rule for lists that lag behind the truth. AdminGetUser never lags. */
export const lagSchema = z.strictObject({
  /** Usernames or subs it is about. */
  users: z.array(z.string()).optional(),
  /** Or this share of all users, always the same ones. Without both: everybody. */
  share: probability.optional(),
  /** How long after the write, in ms; null: until the rule is removed. */
  forMs: z.number().nonnegative().nullable().default(null),
  /** Which look is deceived: `exact` is a filter `=` on sub or username; `scan` every other list. */
  from: z.enum(['scan', 'exact', 'both']).default('both'),
  /** The probability, at each look, that this look is deceived: below 1, answers flicker. */
  rate: probability.default(1),
});
export type LagRule = z.infer<typeof lagSchema>;

const settingsSchema = z.strictObject({
  /** The probability that a page is shorter than its limit (and not empty) though more follow. */
  shortPages: probability,
  /** The probability that a page is empty and carries a token. Below 1, or no chain would end. */
  emptyPages: z.number().min(0).max(0.99),
  /** AWS: one hour. */
  tokenLifetimeMs: z.number().nonnegative(),
  /** Tokens of a chain are refused once it has given so many pages. */
  tokenLifetimePages: z.number().int().positive().nullable(),
  /** Users that lists do not show (`forMs` means nothing here). */
  missing: z.array(lagSchema),
  /** Created users that lists do not show yet. */
  late: z.array(lagSchema),
  /** Written users that lists show as they were before. */
  stale: z.array(lagSchema),
  /** Deleted users that lists still show. */
  ghosts: z.array(lagSchema),
  /** Requests per sliding second for each category; null: no limit. Past it: TooManyRequestsException. @see AWS_QUOTAS */
  quotas: z.strictObject({ UserList: perSecond, UserRead: perSecond, UserPoolRead: perSecond }),
  failures: z.array(failureSchema),
  /** Every answer takes `ms`, give or take up to `jitterMs`: half of it before the pool is read, half after. */
  latency: z.strictObject({ ms: z.number().nonnegative(), jitterMs: z.number().nonnegative() }),
  /** Attributes in another order at each answer. */
  shuffleAttributes: z.boolean(),
  /** What DescribeUserPool claims; null: the truth. */
  estimatedUsers: z.number().int().nullable(),
});
export type FaultSettings = z.infer<typeof settingsSchema>;

export const faultPatchSchema = settingsSchema.partial();
/** What `Faults.set` takes: any of the settings, each replaced as a whole. */
export type FaultPatch = z.input<typeof faultPatchSchema>;

/** Source: https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html */
export const AWS_QUOTAS = { UserList: 30, UserRead: 120, UserPoolRead: 15 } as const;

const NO_FAULTS: FaultSettings = {
  shortPages: 0,
  emptyPages: 0,
  tokenLifetimeMs: 3_600_000,
  tokenLifetimePages: null,
  missing: [],
  late: [],
  stale: [],
  ghosts: [],
  quotas: { UserList: null, UserRead: null, UserPoolRead: null },
  failures: [],
  latency: { ms: 0, jitterMs: 0 },
  shuffleAttributes: false,
  estimatedUsers: null,
};

export class Faults {
  #settings = NO_FAULTS;

  get settings(): FaultSettings {
    return this.#settings;
  }

  /**
   * Replaces the settings named, and leaves the others. Lists of rules start anew: their counts too.
   * @throws z.ZodError for what the schema does not know
   */
  set(patch: FaultPatch): void {
    const parsed = faultPatchSchema.parse(patch);
    const given = Object.entries(parsed).filter(([, value]) => value !== undefined);
    this.#settings = { ...this.#settings, ...Object.fromEntries(given) };
  }

  /** Nothing is wrong any more: what lagged is seen as it is from now on. */
  reset(): void {
    this.#settings = NO_FAULTS;
  }
}
