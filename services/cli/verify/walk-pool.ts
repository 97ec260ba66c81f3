/** The whole pool, noted in a pile: one chain of pages within the deployment's budget. */

import { observe } from '../../poller/diff.ts';
import { type PoolReader, TokenRefused } from '../../poller/pages.ts';
import { Pile } from './pile.ts';

/** A pool that refuses every token it has given is not walked for ever. */
const RESTARTS_MOST = 20;

/** @throws PoolFailure */
export async function walkPool(
  reader: PoolReader,
  timeline: string,
  onProgress: (users: number) => void,
): Promise<Pile> {
  for (let restarts = 0; ; restarts++) {
    try {
      const pile = new Pile();
      let token: string | null = null;
      do {
        const page: Awaited<ReturnType<PoolReader['page']>> = await reader.page(null, token, 'scan');
        for (const user of page.users) {
          const { sub, row, fingerprint } = observe(user, timeline, page.observedAt);
          pile.add({ sub, username: row.username, fingerprint });
        }
        onProgress(pile.size);
        token = page.token;
      } while (token !== null);
      return pile;
    } catch (error) {
      if (!(error instanceof TokenRefused) || restarts >= RESTARTS_MOST) throw error;
    }
  }
}
