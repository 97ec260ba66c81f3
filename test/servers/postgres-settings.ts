/** How a test's Postgres is set, apart from what the test says. */
import { platform } from 'node:os';

/** UTF-8 without a language. macOS has no C.UTF-8 everywhere; there, C sorts the same. */
export function clusterLocale(): string {
  return platform() === 'linux' ? 'C.UTF-8' : 'C';
}

/**
 * @param folder where its socket goes
 * @param tag in the title of each of its processes, by which `processesOf` and the watchdog know them
 */
export function settingsFor(folder: string, tag: string, port: number): Record<string, string | number> {
  return {
    port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: folder,
    cluster_name: tag,
    // What a kill -9 can lose is safe without it; only a power cut needs it.
    fsync: 'off',
    wal_level: 'logical',
    max_connections: 300,
    // 16 MB instead of 64: a thousand tests' worth of WAL is not kept.
    min_wal_size: '32MB',
    // In the data folder, so that nothing stays in /dev/shm after kill -9.
    dynamic_shared_memory_type: 'mmap',
    // A zone nobody has: who assumes UTC is found out.
    timezone: 'Asia/Kathmandu',
    log_line_prefix: '%m [%p] %q%a ',
    lc_messages: 'C',
  };
}

/** Nothing of ours may steer the server (PGDATA, PGPORT, PGOPTIONS…). */
export function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: clusterLocale(), TZ: 'UTC' };
}
