import { defineConfig } from 'vitest/config';

const SERVERS = 'test/servers/global-setup.ts';
/** The SDK warns of Node 20, which is one of those we support. */
const env = { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' };

/**
 * A test's suffix says what it needs: `.test.ts` nothing, `.int.test.ts` Postgres and Redis, `.peer.test.ts` foreign emulators,
 * `.chart.test.ts` Helm.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{services,shared,test}/**/*.test.ts'],
          exclude: ['**/*.int.test.ts', '**/*.peer.test.ts', '**/*.chart.test.ts'],
          env,
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
          // After the unit tests: they say sooner what is wrong, and undisturbed.
          sequence: { groupOrder: 1 },
          env,
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
          sequence: { groupOrder: 2 },
          env,
        },
      },
      {
        test: {
          name: 'chart',
          include: ['test/chart/*.chart.test.ts'],
          globalSetup: [SERVERS, 'test/chart/global-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 3 },
          env,
        },
      },
    ],
  },
});
