/** `POST /refresh`: hints over HTTP. There is no such route where REFRESH_TOKEN is not set. */
import { hash, timingSafeEqual } from 'node:crypto';
import { sleep } from '../../shared/clock.ts';
import type { HttpRoute, Reply } from '../../shared/http.ts';
import { readHintBody } from './hint-body.ts';
import { type Inbox, NobodyServes } from './inbox.ts';

/** EventBridge's and SQS's own limit. */
const MAX_BODY_BYTES = 262_144;
/** Redis being away is waited for elsewhere; a caller is told. */
const PATIENCE_MS = 5_000;

const refusal = (status: number, error: string, headers?: Record<string, string>): Reply => ({
  status,
  body: { error },
  ...(headers === undefined ? {} : { headers }),
});

/** @param token null: no route, so that the path is not found */
export function refreshRoutes(token: string | null, inbox: Inbox): HttpRoute[] {
  return token === null ? [] : [refreshRoute(token, inbox)];
}

function refreshRoute(token: string, inbox: Inbox): HttpRoute {
  const digest = hash('sha256', `Bearer ${token}`, 'buffer');
  return {
    method: 'POST',
    path: '/refresh',
    maxBodyBytes: MAX_BODY_BYTES,
    async handle({ headers, body }) {
      // Digests have one length, so comparing them tells nothing of either.
      const given = hash('sha256', (headers.authorization ?? '').replace(/^bearer +/i, 'Bearer '), 'buffer');
      if (!timingSafeEqual(given, digest))
        return refusal(401, 'Authorization: Bearer and the REFRESH_TOKEN are asked for', {
          'www-authenticate': 'Bearer',
        });
      const read = readHintBody(body.toString('utf8'), Date.now());
      if (typeof read === 'string') {
        await inTime(inbox.unreadable('http'));
        return refusal(400, read);
      }
      try {
        const accepted = await inTime(inbox.take(read, 'http'));
        if (accepted === null) return refusal(503, 'Redis does not answer; try again later', { 'retry-after': '5' });
        return { status: 202, body: { accepted } };
      } catch (error) {
        if (error instanceof NobodyServes)
          return refusal(503, `${error.message}; try again later`, { 'retry-after': '5' });
        throw error;
      }
    },
  };
}

/** null: it takes too long. */
async function inTime<T>(work: Promise<T>): Promise<T | null> {
  const done = new AbortController();
  work.catch(() => undefined);
  try {
    return await Promise.race([work, sleep(PATIENCE_MS, done.signal).then(() => null)]);
  } finally {
    done.abort();
  }
}
