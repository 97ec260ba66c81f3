/**
 * What happens to a live pool, one change at a time.
 */
import type { CognitoUser } from '../../shared/user.ts';
import { ordinaryUser } from './ordinary-users.ts';
import type { Pool } from './pool.ts';
import { Random } from './random.ts';

export type ChurnKind = 'sign-up' | 'confirm' | 'update' | 'disable' | 'enable' | 'delete' | 'reuse';

export interface ChurnStep {
  readonly kind: ChurnKind;
  readonly username: string;
  /** The sub after the step; the deleted one's for `delete`. */
  readonly sub: string;
  /** The records around the step. `reuse` deletes the one and creates the other, of the same username. */
  readonly before: CognitoUser | undefined;
  readonly after: CognitoUser | undefined;
}

export interface ChurnOptions {
  readonly seed: number | string;
  /** How often each kind is drawn, relative to the others; 0: never. @see ORDINARY_CHURN */
  readonly weights?: Partial<Readonly<Record<ChurnKind, number>>>;
}

export const ORDINARY_CHURN: Readonly<Record<ChurnKind, number>> = {
  'sign-up': 26,
  confirm: 16,
  update: 30,
  disable: 6,
  enable: 4,
  delete: 12,
  reuse: 6,
};

/**
 * Endless: each `next()` makes one change to the pool and says which. Where a kind finds nobody (or the pool gives no username twice)
 * another is drawn; an empty pool gets a sign-up.
 */
export function* churn(pool: Pool, { seed, weights }: ChurnOptions): Generator<ChurnStep, never> {
  const random = new Random(`${seed}/churn`);
  const kinds = Object.entries({ ...ORDINARY_CHURN, ...weights }) as [ChurnKind, number][];
  for (let number = 1; ; ) {
    const step = change(pool, pool.size === 0 ? 'sign-up' : drawn(kinds, random), number, seed, random);
    if (step === undefined) continue;
    number++;
    yield step;
  }
}

function drawn(kinds: readonly (readonly [ChurnKind, number])[], random: Random): ChurnKind {
  let left = random.next() * kinds.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [kind, weight] of kinds) {
    left -= weight;
    if (left < 0) return kind;
  }
  return 'update';
}

function change(
  pool: Pool,
  kind: ChurnKind,
  number: number,
  seed: number | string,
  random: Random,
): ChurnStep | undefined {
  if (kind === 'sign-up') {
    const username = `churn-${seed}-${number}-${random.int(1_000_000)}`;
    if (pool.get(username) !== undefined) return undefined;
    return stepOf(kind, undefined, pool.create({ username, attributes: attributesOf(random), status: 'UNCONFIRMED' }));
  }
  const before = pool.pick(random, kind === 'confirm' ? 'UNCONFIRMED' : undefined);
  if (before?.Username === undefined) return undefined;
  const username = before.Username;
  switch (kind) {
    case 'confirm':
      return stepOf(kind, before, pool.setStatus(username, 'CONFIRMED'));
    case 'update':
      return stepOf(kind, before, update(pool, before, username, random));
    case 'disable':
      return before.Enabled === true ? stepOf(kind, before, pool.disable(username)) : undefined;
    case 'enable':
      return before.Enabled === false ? stepOf(kind, before, pool.enable(username)) : undefined;
    case 'delete':
      return stepOf(kind, pool.delete(username), undefined);
    case 'reuse':
      if (pool.usernames === 'sub') return undefined;
      return stepOf(kind, before, pool.reuse(username, { attributes: attributesOf(random) }));
  }
}

/** Each of these really changes something: a random number is in every value. */
function update(pool: Pool, { Attributes = [] }: CognitoUser, username: string, random: Random): CognitoUser {
  const spare = Attributes.find(({ Name }) => Name?.startsWith('custom:') === true)?.Name;
  if (spare !== undefined && random.chance(0.3)) return pool.removeAttributes(username, [spare]);
  if (random.chance(0.5)) return pool.update(username, { email: emailOf(random), email_verified: 'false' });
  return pool.update(username, { [`custom:field${random.int(5)}`]: `välue "${random.uint53()}"` });
}

const emailOf = (random: Random): string => `changed.${random.uint53()}@example.org`;

const attributesOf = (random: Random) => [
  ...(ordinaryUser(0, random, 0).attributes ?? []).filter(([name]) => name !== 'email' && name !== 'identities'),
  ['email', emailOf(random)] as const,
];

function stepOf(kind: ChurnKind, before: CognitoUser | undefined, after: CognitoUser | undefined): ChurnStep {
  const user = after ?? before;
  const sub = user?.Attributes?.find(({ Name }) => Name === 'sub')?.Value ?? '';
  return { kind, username: user?.Username ?? '', sub, before, after };
}
