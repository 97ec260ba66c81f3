/**
 * An emulator and the real SDK's client for it, for the tests in this folder.
 */
import {
  CognitoIdentityProviderClient,
  type CognitoIdentityProviderClientConfig,
  ListUsersCommand,
  type ListUsersCommandInput,
  type UserType,
} from '@aws-sdk/client-cognito-identity-provider';
import { onTestFinished } from 'vitest';
import { Emulator, type EmulatorOptions } from './emulator.ts';
import type { Pool } from './pool.ts';

export interface SdkSession {
  readonly emulator: Emulator;
  readonly pool: Pool;
  /** Does not retry: a test sees each error. */
  readonly client: CognitoIdentityProviderClient;
  /** All pages of one chain, 60 users each at most. */
  pages(request?: Partial<ListUsersCommandInput>): Promise<UserType[][]>;
  /** The usernames of one chain, sorted. */
  usernames(filter?: string): Promise<string[]>;
}

/** Ends with the test. */
export async function sdkSession(
  options: EmulatorOptions = {},
  client: CognitoIdentityProviderClientConfig = {},
): Promise<SdkSession> {
  const emulator = await Emulator.start(options);
  const sdk = new CognitoIdentityProviderClient({ ...emulator.clientConfig, maxAttempts: 1, ...client });
  onTestFinished(async () => {
    sdk.destroy();
    await emulator.stop();
  });
  const pool = emulator.pool();
  const pages = async (request: Partial<ListUsersCommandInput> = {}): Promise<UserType[][]> => {
    const all: UserType[][] = [];
    let token: string | undefined;
    do {
      const command = new ListUsersCommand({ UserPoolId: pool.id, Limit: 60, ...request, PaginationToken: token });
      const page = await sdk.send(command);
      all.push(page.Users ?? []);
      token = page.PaginationToken;
    } while (token !== undefined);
    return all;
  };
  const usernames = async (Filter?: string): Promise<string[]> =>
    (await pages({ Filter }))
      .flat()
      .map(({ Username = '' }) => Username)
      .sort();
  return { emulator, pool, client: sdk, pages, usernames };
}
