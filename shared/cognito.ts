/**
 * The door to Cognito: the three requests that a mirror needs. No retries here: each try is a request of the budget, so the budget's owner
 * makes them.
 */
import {
  AdminGetUserCommand,
  CognitoIdentityProviderClient,
  DescribeUserPoolCommand,
  ListUsersCommand,
} from '@aws-sdk/client-cognito-identity-provider';
import type { AwsKeys } from './foreign-server.ts';
import type { CognitoUser } from './user.ts';

export interface Page {
  readonly users: readonly CognitoUser[];
  /** null: the list has ended. A short or empty page says nothing. */
  readonly token: string | null;
}

export interface UserPool {
  listUsers(request: { readonly filter: string | null; readonly token: string | null }): Promise<Page>;
  /** null: UserNotFoundException. Makes a user that exists a billable active user. */
  getUser(username: string): Promise<CognitoUser | null>;
  /** An estimate, never a gate; null where IAM doesn't grant DescribeUserPool. */
  estimatedUsers(): Promise<number | null>;
  close(): void;
}

/** The most that ListUsers takes; its default is smaller (API reference, ListUsers, Limit). */
export const PAGE_USERS = 60;
const CONNECT_TIMEOUT_MS = 5_000;
/** AWS answers a page in some 150 ms; without this the SDK waits for ever. */
const REQUEST_TIMEOUT_MS = 15_000;

export interface CognitoSettings {
  readonly poolId: string;
  readonly region: string | null;
  readonly endpoint: string | null;
  /** null or absent: the SDK's own chain finds them. */
  readonly credentials?: AwsKeys | null;
}

export function connectUserPool({ poolId, region, endpoint, credentials = null }: CognitoSettings): UserPool {
  const client = new CognitoIdentityProviderClient({
    ...(region === null ? {} : { region }),
    ...(endpoint === null ? {} : { endpoint }),
    ...(credentials === null ? {} : { credentials }),
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      // An answer that stops in its middle: requestTimeout ends with the headers.
      socketTimeout: REQUEST_TIMEOUT_MS,
      throwOnRequestTimeout: true,
    },
  });
  parseListsPlainly(client);
  return {
    async listUsers({ filter, token }) {
      const answer = await client.send(
        new ListUsersCommand({
          UserPoolId: poolId,
          Limit: PAGE_USERS,
          ...(filter === null ? {} : { Filter: filter }),
          ...(token === null ? {} : { PaginationToken: token }),
        }),
      );
      return { users: answer.Users ?? [], token: answer.PaginationToken ?? null };
    },
    async getUser(username) {
      try {
        const { UserAttributes, ...user } = await client.send(
          new AdminGetUserCommand({ UserPoolId: poolId, Username: username }),
        );
        return { ...user, Attributes: UserAttributes };
      } catch (error) {
        if (error instanceof Error && error.name === 'UserNotFoundException') return null;
        throw error;
      }
    },
    async estimatedUsers() {
      try {
        const { UserPool: pool } = await client.send(new DescribeUserPoolCommand({ UserPoolId: poolId }));
        return pool?.EstimatedNumberOfUsers ?? null;
      } catch (error) {
        if (error instanceof Error && error.name === 'AccessDeniedException') return null;
        throw error;
      }
    },
    close: () => client.destroy(),
  };
}

interface WireUser extends Omit<CognitoUser, 'UserCreateDate' | 'UserLastModifiedDate'> {
  readonly UserCreateDate?: number;
  readonly UserLastModifiedDate?: number;
}

/** What is used of the SDK's protocol object (@smithy/types, ClientProtocol). */
interface ResponseReader {
  deserializeResponse(
    operation: { readonly name: string },
    context: unknown,
    response: {
      readonly statusCode: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: AsyncIterable<Buffer>;
    },
  ): Promise<unknown>;
}

/**
 * ListUsers' answers are most of what a scan costs, and the SDK's schema-driven deserializer is a quarter of it (1.14 ms of CPU a page, 0.87 with
 * JSON.parse). Its protocol is told to read a successful page plainly; requests, signatures, retries and errors stay its own.
 */
function parseListsPlainly(client: CognitoIdentityProviderClient): void {
  const protocol = client.config.protocol as unknown as ResponseReader;
  const schemaDriven = protocol.deserializeResponse.bind(protocol);
  protocol.deserializeResponse = async (operation, context, response) => {
    if (operation.name !== 'ListUsers' || response.statusCode !== 200)
      return await schemaDriven(operation, context, response);
    const chunks: Buffer[] = [];
    for await (const chunk of response.body) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString('utf8');
    const { Users = [], PaginationToken } = JSON.parse(body) as { Users?: WireUser[]; PaginationToken?: string };
    const users: CognitoUser[] = Users.map(({ UserCreateDate, UserLastModifiedDate, ...user }) => ({
      ...user,
      UserCreateDate: dateOf(UserCreateDate),
      UserLastModifiedDate: dateOf(UserLastModifiedDate),
    }));
    const $metadata = { httpStatusCode: 200, requestId: response.headers['x-amzn-requestid'] };
    return { $metadata, Users: users, PaginationToken };
  };
}

/** On the wire dates are seconds with a fraction, to the millisecond (AWS JSON 1.1). */
const dateOf = (seconds: number | undefined): Date | undefined =>
  typeof seconds === 'number' ? new Date(Math.round(seconds * 1000)) : undefined;

/** A filter for exactly one value; quotes and backslashes escaped as the API reference says (ListUsers, Filter). */
export const exactly = (attribute: 'sub' | 'username' | 'cognito:user_status', value: string): string =>
  `${attribute} = "${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;

/** Longer ones are refused (API reference, ListUsers, Filter). */
export const FILTER_CHARACTERS = 256;
