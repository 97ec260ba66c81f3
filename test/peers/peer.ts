/** An emulator of Cognito that this project did not write, running here, with one pool. */

import { join } from 'node:path';
import {
  CognitoIdentityProviderClient,
  CreateUserPoolCommand,
  paginateListUsers,
  type UserType,
} from '@aws-sdk/client-cognito-identity-provider';
import { Child, ServerError } from '../servers/child.ts';
import { makeFolder } from '../servers/folder.ts';
import { freePort } from '../servers/free-port.ts';

export const REGION = 'us-east-1';
/** Neither peer looks at them, but the SDK insists. */
export const CREDENTIALS = { accessKeyId: 'testing', secretAccessKey: 'testing' };

export interface Peer {
  readonly endpoint: string;
  readonly poolId: string;
  /** The real SDK, pointed at the peer. */
  readonly client: CognitoIdentityProviderClient;
  /** Ends the process and removes its folder. */
  stop(): Promise<void>;
}

export interface PeerCommand {
  readonly name: string;
  readonly command: string;
  args(port: number): readonly string[];
  env(port: number): NodeJS.ProcessEnv;
  /** Makes what it finds in its working folder. */
  prepare?(folder: string): Promise<void>;
}

/** Starts the peer on a free port of 127.0.0.1 and makes a pool with two custom attributes there. */
export async function startPeer(peer: PeerCommand): Promise<Peer> {
  const folder = await makeFolder(peer.name, 'KILL');
  try {
    await peer.prepare?.(folder.path);
    const port = await freePort();
    const child = await Child.start({
      command: peer.command,
      args: peer.args(port),
      cwd: folder.path,
      env: { PATH: process.env['PATH'], HOME: folder.path, ...peer.env(port) },
      log: join(folder.path, 'log'),
    });
    await folder.setPid(child.pid);
    const endpoint = `http://127.0.0.1:${port}`;
    await child.until('ready', () => answers(endpoint));
    const client = new CognitoIdentityProviderClient({ region: REGION, endpoint, credentials: CREDENTIALS });
    const poolId = await createPool(client).catch(async (cause) => {
      throw new ServerError(`${peer.name} made no pool (${cause})`, await child.logTail());
    });
    return {
      endpoint,
      poolId,
      client,
      async stop() {
        client.destroy();
        child.signal('SIGKILL');
        await child.exit();
        await folder.remove();
      },
    };
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

/** Any answer will do: none of them is asked for a page that it has. */
function answers(endpoint: string): Promise<boolean> {
  return fetch(endpoint, { signal: AbortSignal.timeout(2_000) }).then(
    () => true,
    () => false,
  );
}

async function createPool(client: CognitoIdentityProviderClient): Promise<string> {
  const { UserPool } = await client.send(
    new CreateUserPoolCommand({
      PoolName: 'peers',
      Schema: ['plan', 'note'].map((Name) => ({ Name, AttributeDataType: 'String', Mutable: true })),
    }),
  );
  if (UserPool?.Id === undefined) throw new Error('a pool without an Id');
  return UserPool.Id;
}

/** Everybody in the pool, as the peer itself lists them. */
export async function listUsers({ client, poolId }: Peer): Promise<UserType[]> {
  const users: UserType[] = [];
  for await (const page of paginateListUsers({ client, pageSize: 60 }, { UserPoolId: poolId })) {
    users.push(...(page.Users ?? []));
  }
  return users;
}
