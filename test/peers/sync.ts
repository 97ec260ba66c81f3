/** The one story that every peer is told: fill, sync, compare; change, sync, compare. */
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createDatabase, type Database } from '../servers/database.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { cognitoFeed } from './feed.ts';
import { CREDENTIALS, listUsers, type Peer, REGION } from './peer.ts';
import { churn, createUsers } from './population.ts';
import { rowsOfMirror, rowsOfUsers } from './rows.ts';

const USERS = 1_000;

export function describeSync(name: string, start: () => Promise<Peer>): void {
  describe(`sync against ${name}`, () => {
    let peer: Peer;
    let redis: RedisServer;
    let database: Database;

    beforeAll(async () => {
      [peer, redis, database] = await Promise.all([start(), startRedis(), createDatabase(inject('postgres18'))]);
      await createUsers(peer, 0, USERS);
    });
    afterAll(async () => {
      await Promise.all([peer?.stop(), redis?.stop(), database?.drop()]);
    });

    async function run(...args: string[]): Promise<void> {
      const result = await cognitoFeed(args, {
        COGNITO_USER_POOL_ID: peer.poolId,
        AWS_REGION: REGION,
        AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
        AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
        AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: peer.endpoint,
        DATABASE_URL: database.url,
        REDIS_URL: redis.url,
      });
      expect(result, result.output).toMatchObject({ code: 0 });
    }

    async function expectEqual(): Promise<number> {
      const pool = rowsOfUsers(await listUsers(peer));
      expect(await rowsOfMirror(database.url)).toEqual(pool);
      return pool.length;
    }

    test(`mirrors ${USERS} users row by row`, async () => {
      await run('migrate');
      await run('sync');
      expect(await expectEqual()).toBe(USERS);
    });

    test('follows updates, disables, enables, deletes, new users and names used again', async () => {
      await churn(peer, USERS);
      await run('sync');
      expect(await expectEqual()).toBe(USERS - 15 + 25);
    });
  });
}
