/** Nobody is to wait for ever before a screen on which nothing moves. */
import { UserFacingError } from '../../../shared/errors.ts';

/** A starved machine moves within it; a feed that is stuck doesn't. */
const STILL_MS = 60_000;

export class Movement {
  readonly #what: string;
  #last = '';
  #movedAt = performance.now();

  /** @param what as in `the initial copy has not moved` */
  constructor(what: string) {
    this.#what = what;
  }

  /**
   * @param place where it is now; another one than before is movement
   * @throws UserFacingError after a minute at one place
   */
  at(place: string): void {
    const now = performance.now();
    if (place !== this.#last) this.#movedAt = now;
    this.#last = place;
    if (now - this.#movedAt > STILL_MS) {
      throw new UserFacingError(
        `${this.#what} has not moved for ${STILL_MS / 1000} s: LOG_LEVEL=debug shows what it waits for`,
      );
    }
  }
}
