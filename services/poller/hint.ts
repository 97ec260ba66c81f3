/**
 * A hint: somebody says that a user may have changed. Pure. It is never the truth; a look at the user is.
 */
import { hash } from 'node:crypto';
import { z } from 'zod';
import { HINT_SOURCES } from '../../shared/hint-record.ts';

/** Cognito's usernames have at most 128 characters, its subs 36; aliases are e-mail addresses. */
export const LONGEST_NAME = 200;
const name = z.string().min(1).max(LONGEST_NAME);

const hint = z.strictObject({
  /** What the look asks for. */
  by: z.enum(['sub', 'username']),
  name,
  /** Whom the mirror holds under this username, where the hint's giver knows. */
  sub: name.nullable(),
  /**
   * What the giver has seen happen. `change`: created or changed. `delete`: deleted. `nothing`: he only asks.
   */
  expect: z.enum(['change', 'delete', 'nothing']),
  /** The change is not older than this, milliseconds by AWS's clock; a user last modified since then shows it. null: unknown. */
  since: z.number().nullable(),
  source: z.enum(HINT_SOURCES),
});
export type Hint = z.infer<typeof hint>;

/** A job of queue `refresh`. */
export const refreshJob = z.strictObject({
  ...hint.shape,
  /** When the hint was given, by Redis's clock. */
  at: z.number(),
  /** Looks so far. */
  looks: z.int(),
  /** Whether a look has found a change. */
  found: z.boolean(),
  /** Of one that is answered: the job of the batch that its last look led to, and what that is about. */
  sent: z.strictObject({ job: z.string(), what: z.enum(['change', 'delete']) }).nullable(),
});
export type RefreshJob = z.infer<typeof refreshJob>;

/** The same for all hints about one name, and of one length whatever it is. */
export const hintId = ({ by, name }: Pick<Hint, 'by' | 'name'>): string =>
  `${by}-${hash('sha256', name, 'hex').slice(0, 32)}`;
