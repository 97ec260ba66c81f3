/**
 * cognito-local (npm). It depends on the retired AWS SDK 2, whose deprecation would stand in our lock file: so it is no
 * dependency of ours but is installed beside them, once, in a pinned version.
 */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CACHE, install } from './install.ts';
import { type Peer, startPeer } from './peer.ts';

const VERSION = '5.3.0';
const PREFIX = join(CACHE, `cognito-local-${VERSION}`);
const START = join(PREFIX, 'node_modules', 'cognito-local', 'lib', 'bin', 'start.js');

export async function startCognitoLocal(): Promise<Peer> {
  await installCognitoLocal();
  return startPeer({
    name: 'cognito-local',
    command: process.execPath,
    args: () => [START],
    env: (port) => ({ HOST: '127.0.0.1', PORT: String(port) }),
    async prepare(folder) {
      // Otherwise each username must be an e-mail address, and no request can say otherwise.
      const config = { UserPoolDefaults: { UsernameAttributes: [] } };
      await mkdir(join(folder, '.cognito'));
      await writeFile(join(folder, '.cognito', 'config.json'), JSON.stringify(config));
    },
  });
}

/** @throws Error in one line where it is missing and can't be installed */
export async function installCognitoLocal(): Promise<void> {
  if (existsSync(START)) return;
  await install(
    'cognito-local',
    [['npm', 'install', '--prefix', PREFIX, '--ignore-scripts', '--no-audit', '--no-fund', `cognito-local@${VERSION}`]],
    'the npm registry must be reachable',
  );
}
