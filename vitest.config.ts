import { defineConfig } from 'vitest/config';

const SERVERS = 'test/servers/global-setup.ts';

/** A test's suffix says what it needs: `.test.ts` nothing, `.int.test.ts` Postgres and Redis, `.peer.test.ts` foreign emulators. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{services,shared,test}/**/*.test.ts'],
          exclude: ['**/*.int.test.ts', '**/*.peer.test.ts'],
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.int.test.ts'],
          globalSetup: [SERVERS],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: 'peers',
          include: ['test/peers/**/*.peer.test.ts'],
          globalSetup: [SERVERS, 'test/peers/global-setup.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          maxWorkers: 2,
        },
      },
    ],
  },
});
