/**
 * ListUsers: one page of a chain.
 * Source: https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListUsers.html
 */
import { z } from 'zod';
import { failedConstraint, invalidParameter } from './cognito-error.ts';
import type { Faults } from './faults.ts';
import { type Filter, matcher, parseFilter } from './filter.ts';
import type { PageTokens } from './page-token.ts';
import type { Pool } from './pool.ts';
import { type PoolUser, withAttributes } from './pool-user.ts';
import type { Random } from './random.ts';

const MAX_LIMIT = 60;
/** Smaller than the maximum: who wants full pages has to ask for them. */
const DEFAULT_LIMIT = 20;

const requestSchema = z.object({
  Limit: z.number().int().optional(),
  PaginationToken: z.string().min(1).optional(),
  Filter: z.string().optional(),
  AttributesToGet: z.array(z.string()).optional(),
});

export interface ListingContext {
  readonly faults: Faults;
  readonly tokens: PageTokens;
  readonly random: Random;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

interface Found {
  readonly place: number;
  readonly json: string;
}

/** @returns the answer's body. @throws CognitoError InvalidParameterException */
export function listUsers(pool: Pool, given: unknown, context: ListingContext): string {
  const parsed = requestSchema.safeParse(given);
  if (!parsed.success) throw invalidParameter(z.prettifyError(parsed.error));
  const request = parsed.data;
  const { faults, tokens, random, now } = context;
  const limit = limitOf(request.Limit);
  const filter = parseFilter(request.Filter);
  const parameters = JSON.stringify([pool.id, request.Filter, limit, request.AttributesToGet]);
  const from = startOf(request.PaginationToken, parameters, context);

  pool.layGhosts();
  const found = find(pool, filter, from.place, limit + 1);
  const take = Math.min(found.length, takeOf(limit, faults, random));
  const page = found.slice(0, take);
  const place = page.at(-1)?.place ?? from.place;
  const token =
    found.length > take ? tokens.seal({ place, pages: from.pages + 1, issuedAt: now() }, parameters) : undefined;
  const users = page.map(({ json }) => shaped(json, request.AttributesToGet, context)).join(',');
  return `{${token === undefined ? '' : `"PaginationToken":"${token}",`}"Users":[${users}]}`;
}

function limitOf(limit: number | undefined): number {
  if (limit === undefined || limit === 0) return DEFAULT_LIMIT;
  if (limit < 0) throw failedConstraint(limit, 'limit', 'Member must have value greater than or equal to 0');
  if (limit > MAX_LIMIT)
    throw failedConstraint(limit, 'limit', `Member must have value less than or equal to ${MAX_LIMIT}`);
  return limit;
}

function startOf(
  token: string | undefined,
  parameters: string,
  { faults, tokens, now }: ListingContext,
): { readonly place: number; readonly pages: number } {
  if (token === undefined) return { place: -1, pages: 0 };
  const position = tokens.open(token, parameters);
  const { tokenLifetimeMs, tokenLifetimePages } = faults.settings;
  if (position === undefined) throw invalidParameter('Invalid pagination token.');
  if (now() - position.issuedAt > tokenLifetimeMs) throw invalidParameter('Invalid pagination token: it expired.');
  if (tokenLifetimePages !== null && position.pages >= tokenLifetimePages) {
    throw invalidParameter('Paging marker of the request is invalid.');
  }
  return position;
}

/** The first users beyond a place whom the lists show and the filter matches: `most` at most. */
function find(pool: Pool, filter: Filter | undefined, place: number, most: number): Found[] {
  const matches = filter && matcher(filter);
  const named =
    filter !== undefined && !filter.prefix && (filter.attribute === 'sub' || filter.attribute === 'username');
  const quiet = pool.lag.quiet;
  const found: Found[] = [];
  const consider = (user: PoolUser, isMatch: boolean): boolean => {
    const json = quiet ? user.json : pool.lag.shown(user, named ? 'exact' : 'scan');
    if (json === undefined) return true;
    // An older version may not be what this list is about.
    if (matches === undefined || (isMatch && json === user.json) || matches(json))
      found.push({ place: user.place, json });
    return found.length < most;
  };
  if (named) {
    for (const user of usersNamed(pool, filter)) if (user.place > place && !consider(user, true)) break;
    return found;
  }
  const { list, exact } = pool.index.listFor(filter);
  list.walk(place, (user) => consider(user, exact));
  return found;
}

/** The user of this sub or username, and its ghosts: a username can have several. */
function usersNamed(pool: Pool, { attribute, value }: Filter): PoolUser[] {
  const alive = attribute === 'sub' ? pool.index.bySub(value) : pool.index.byUsername(value);
  const named = alive === undefined ? [] : [alive];
  for (const ghost of pool.lag.ghosts()) {
    if ((attribute === 'sub' ? ghost.sub : ghost.username) === value) named.push(ghost);
  }
  return named.sort((a, b) => a.place - b.place);
}

function takeOf(limit: number, { settings }: Faults, random: Random): number {
  if (random.chance(settings.emptyPages)) return 0;
  if (limit > 1 && random.chance(settings.shortPages)) return 1 + random.int(limit - 1);
  return limit;
}

function shaped(json: string, names: readonly string[] | undefined, { faults, random }: ListingContext): string {
  let shown = json;
  if (faults.settings.shuffleAttributes) shown = withAttributes(shown, (attributes) => random.shuffled(attributes));
  if (names === undefined) return shown;
  return withAttributes(shown, (attributes) =>
    names.map((wanted) => {
      const attribute = attributes.find(([name]) => name === wanted);
      // Documented: the request fails when a user of the page lacks one of them.
      if (attribute === undefined) throw invalidParameter(`A user lacks the requested attribute ${wanted}.`);
      return attribute;
    }),
  );
}
