/** moto (Python, from PyPI): `moto_server` on the PATH, else in a virtualenv made here once. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { CACHE, install } from './install.ts';
import { type Peer, startPeer } from './peer.ts';

const REQUIREMENT = 'moto[server]==5.2.1';
const VIRTUALENV = join(CACHE, 'moto-5.2.1');

export async function startMoto(): Promise<Peer> {
  return startPeer({
    name: 'moto',
    command: await findMoto(),
    args: (port) => ['-H', '127.0.0.1', '-p', String(port)],
    env: () => ({ PYTHONUNBUFFERED: '1' }),
  });
}

/** @throws Error in one line where it is missing and can't be installed */
export async function findMoto(): Promise<string> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), join(VIRTUALENV, 'bin')]) {
    const path = join(folder, 'moto_server');
    if (folder !== '' && (await exists(path))) return path;
  }
  await install(
    'moto_server',
    [
      ['python3', '-m', 'venv', VIRTUALENV],
      [join(VIRTUALENV, 'bin', 'pip'), 'install', '--quiet', '--disable-pip-version-check', REQUIREMENT],
    ],
    'install Python 3 with venv (Debian: `apt-get install python3-venv`), or put moto_server on the PATH by `pip install "moto[server]"`',
  );
  return join(VIRTUALENV, 'bin', 'moto_server');
}

function exists(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
