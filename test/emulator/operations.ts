/**
 * The operations of the Cognito user pools API that the emulator answers, but ListUsers.
 * Source: https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_Operations.html
 */
import { z } from 'zod';
import { asciiJson } from './ascii-json.ts';
import { CognitoError, invalidParameter, notAuthorized, userNotFound } from './cognito-error.ts';
import type { Faults } from './faults.ts';
import type { Pool } from './pool.ts';
import { type Attribute, asAdminGetUser, detailsOf, type PoolUser, withAttributes } from './pool-user.ts';
import type { Random } from './random.ts';

/** What a handler gets besides its request. */
export interface OperationContext {
  readonly pool: Pool;
  readonly faults: Faults;
  readonly random: Random;
}

/** @returns the answer's body. @throws CognitoError */
export type Handler = (request: unknown, context: OperationContext) => string;

const MAX_VALUE_BYTES = 2048;
const MIN_PASSWORD = 8;

const username = z.string().min(1).max(128);
const attributes = z
  .array(z.object({ Name: z.string().min(1).max(32), Value: z.string().optional() }))
  .transform((list) => list.map(({ Name, Value }): Attribute => [Name, Value ?? null]));
const byUsername = z.object({ Username: username });

const NOTHING = '{}';

/** A handler whose request must fit the schema; keys that it does not name are ignored, as most of what the real service takes. */
function operation<T extends z.ZodType>(
  schema: T,
  handle: (request: z.output<T>, context: OperationContext) => string,
): Handler {
  return (request, context) => {
    const parsed = schema.safeParse(request);
    if (parsed.success) return handle(parsed.data, context);
    const issue = parsed.error.issues[0];
    const member = issue?.path.join('.') ?? '';
    throw invalidParameter(
      `1 validation error detected: Value at '${member}' failed to satisfy constraint: ${issue?.message}`,
    );
  };
}

export const operations: Readonly<Record<string, Handler>> = {
  DescribeUserPool: operation(z.object({}), (_, { pool, faults }) => {
    const users = faults.settings.estimatedUsers ?? pool.size;
    return asciiJson({
      UserPool: {
        Id: pool.id,
        Name: 'emulated',
        Arn: `arn:aws:cognito-idp:${pool.id.split('_')[0]}:123456789012:userpool/${pool.id}`,
        EstimatedNumberOfUsers: users,
        CreationDate: pool.createdAt / 1000,
        LastModifiedDate: pool.createdAt / 1000,
        ...(pool.usernames === 'sub' ? { UsernameAttributes: ['email'] } : {}),
        ...(pool.usernames === 'own' && pool.emailAlias ? { AliasAttributes: ['email'] } : {}),
      },
    });
  }),

  AdminGetUser: operation(byUsername, ({ Username }, { pool, faults, random }) => {
    const { json } = resolve(pool, Username);
    const shown = faults.settings.shuffleAttributes ? withAttributes(json, (list) => random.shuffled(list)) : json;
    return asAdminGetUser(shown);
  }),

  AdminCreateUser: operation(
    z.object({ Username: username, UserAttributes: attributes.default([]) }),
    ({ Username, UserAttributes }, { pool }) =>
      `{"User":${create(pool, Username, UserAttributes, 'FORCE_CHANGE_PASSWORD').json}}`,
  ),

  AdminUpdateUserAttributes: operation(
    z.object({ Username: username, UserAttributes: attributes }),
    ({ Username, UserAttributes }, { pool }) => {
      checkValues(UserAttributes);
      pool.update(resolve(pool, Username).username, Object.fromEntries(UserAttributes));
      return NOTHING;
    },
  ),

  AdminDeleteUserAttributes: operation(
    z.object({ Username: username, UserAttributeNames: z.array(z.string().min(1).max(32)) }),
    ({ Username, UserAttributeNames }, { pool }) => {
      pool.removeAttributes(resolve(pool, Username).username, UserAttributeNames);
      return NOTHING;
    },
  ),

  AdminDeleteUser: operation(byUsername, ({ Username }, { pool }) => {
    pool.delete(resolve(pool, Username).username);
    return '';
  }),

  AdminDisableUser: operation(byUsername, ({ Username }, { pool }) => {
    pool.disable(resolve(pool, Username).username);
    return NOTHING;
  }),

  AdminEnableUser: operation(byUsername, ({ Username }, { pool }) => {
    pool.enable(resolve(pool, Username).username);
    return NOTHING;
  }),

  AdminConfirmSignUp: operation(byUsername, ({ Username }, { pool }) => {
    confirm(pool, Username);
    return NOTHING;
  }),

  AdminSetUserPassword: operation(
    z.object({ Username: username, Password: z.string(), Permanent: z.boolean().default(false) }),
    ({ Username, Password, Permanent }, { pool }) => {
      checkPassword(Password);
      pool.setStatus(resolve(pool, Username).username, Permanent ? 'CONFIRMED' : 'FORCE_CHANGE_PASSWORD');
      return NOTHING;
    },
  ),

  SignUp: operation(
    z.object({ Username: username, Password: z.string(), UserAttributes: attributes.default([]) }),
    ({ Username, Password, UserAttributes }, { pool }) => {
      checkPassword(Password);
      const { sub } = create(pool, Username, UserAttributes, 'UNCONFIRMED');
      return asciiJson({ UserConfirmed: false, UserSub: sub });
    },
  ),

  /** Any code is right but `000000`. */
  ConfirmSignUp: operation(z.object({ Username: username, ConfirmationCode: z.string() }), (request, { pool }) => {
    if (request.ConfirmationCode === '000000') {
      throw new CognitoError('CodeMismatchException', 'Invalid verification code provided, please try again.');
    }
    const confirmed = confirm(pool, request.Username);
    if (detailsOf(confirmed.json).attributes.some(([name]) => name === 'email')) {
      pool.update(confirmed.username, { email_verified: 'true' });
    }
    return NOTHING;
  }),
};

/**
 * The user whom a request means by `Username`: a username; the sub of a local user; an e-mail where that is an alias.
 * Federated users are found by their username only.
 */
function resolve(pool: Pool, name: string): PoolUser {
  const user = pool.index.byUsername(name) ?? pool.index.bySub(name) ?? pool.index.byEmail(name);
  if (user === undefined) throw userNotFound();
  if (user.status === 'EXTERNAL_PROVIDER' && user.username !== name) throw userNotFound();
  return user;
}

/** In pools that sign in by e-mail the request's Username is the e-mail, and the user's is the sub. */
function create(pool: Pool, name: string, given: readonly Attribute[], status: string): PoolUser {
  checkValues(given);
  if (given.some(([attribute]) => attribute === 'sub'))
    throw invalidParameter('Cannot modify the non-mutable attribute sub');
  const byEmail = pool.usernames === 'sub';
  if (byEmail && !name.includes('@')) throw invalidParameter('Username should be an email.');
  if (byEmail && pool.index.byEmail(name) !== undefined) {
    throw new CognitoError('UsernameExistsException', 'An account with the given email already exists.');
  }
  const rest = byEmail ? given.filter(([attribute]) => attribute !== 'email') : given;
  const list: readonly Attribute[] = byEmail ? [...rest, ['email', name]] : rest;
  const { Username } = pool.create({ username: name, attributes: list, status });
  return resolve(pool, Username ?? '');
}

function confirm(pool: Pool, name: string): PoolUser {
  const user = resolve(pool, name);
  if (user.status !== 'UNCONFIRMED') throw notAuthorized(`User cannot be confirmed. Current status is ${user.status}`);
  pool.setStatus(user.username, 'CONFIRMED');
  return user;
}

function checkValues(list: readonly Attribute[]): void {
  for (const [name, value] of list) {
    if (value !== null && Buffer.byteLength(value) > MAX_VALUE_BYTES) {
      throw invalidParameter(`${name}: String must be no longer than ${MAX_VALUE_BYTES} bytes`);
    }
  }
}

function checkPassword(password: string): void {
  if (password.length < MIN_PASSWORD) {
    throw new CognitoError(
      'InvalidPasswordException',
      'Password did not conform with policy: Password not long enough',
    );
  }
}
