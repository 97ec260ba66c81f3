/** The door to Cognito, its requests counted: each try is one, by what became of it. */
import type { UserPool } from '../../shared/cognito.ts';
import { classify } from '../../shared/errors.ts';
import type { Metrics } from '../../shared/metrics.ts';

export function measured(userPool: UserPool, pool: string, metrics: Metrics): UserPool {
  const count = async <T>(operation: string, request: () => Promise<T>): Promise<T> => {
    const answered = metrics.requestSeconds.startTimer({ pool, operation });
    try {
      const answer = await request();
      metrics.requests.inc({ pool, operation, outcome: 'ok' });
      return answer;
    } catch (error) {
      const { kind } = classify(error);
      metrics.requests.inc({ pool, operation, outcome: kind });
      if (kind === 'aws-throttled') metrics.throttles.inc({ pool });
      throw error;
    } finally {
      answered();
    }
  };
  return {
    async listUsers(request) {
      const page = await count('ListUsers', () => userPool.listUsers(request));
      if (isOfScan(request.filter)) {
        metrics.scanPages.inc({ pool });
        metrics.usersSeen.inc({ pool }, page.users.length);
      }
      return page;
    },
    getUser: (username) => count('AdminGetUser', () => userPool.getUser(username)),
    estimatedUsers: () => count('DescribeUserPool', () => userPool.estimatedUsers()),
    close: () => userPool.close(),
  };
}

/** A scan walks the whole pool, or one of its shards; exact looks and hot lanes are no part of it. */
const isOfScan = (filter: string | null): boolean => filter === null || filter.startsWith('sub ^=');
