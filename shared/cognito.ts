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
}

export function connectUserPool({ poolId, region, endpoint }: CognitoSettings): UserPool {
  const client = new CognitoIdentityProviderClient({
    ...(region === null ? {} : { region }),
    ...(endpoint === null ? {} : { endpoint }),
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      throwOnRequestTimeout: true,
    },
  });
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

/** A filter for exactly one value; quotes and backslashes escaped as the API reference says (ListUsers, Filter). */
export const exactly = (attribute: 'sub' | 'username', value: string): string =>
  `${attribute} = "${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;

/** Longer ones are refused (API reference, ListUsers, Filter). */
export const FILTER_CHARACTERS = 256;
