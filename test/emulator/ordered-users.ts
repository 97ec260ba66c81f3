/**
 * Users in the order of their places: a sorted list cut into blocks, so that adding, removing and seeking stay cheap for a million.
 */
import type { PoolUser } from './pool-user.ts';

/** A block that grows past twice this is cut in two. */
const BLOCK = 512;

export class OrderedUsers {
  #blocks: PoolUser[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(user: PoolUser): void {
    this.#size++;
    const at = Math.max(0, this.#blockOf(user.place));
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push([user]);
      return;
    }
    block.splice(indexAfter(block, user.place), 0, user);
    if (block.length > 2 * BLOCK) this.#blocks.splice(at + 1, 0, block.splice(BLOCK));
  }

  /** Many at once: O(n log n) for all instead of a seek for each. */
  addAll(users: readonly PoolUser[]): void {
    const all = this.#blocks.flat();
    for (const user of users) all.push(user);
    all.sort((a, b) => a.place - b.place); // cheap where they come in order
    this.#size = all.length;
    this.#blocks = [];
    for (let i = 0; i < all.length; i += BLOCK) this.#blocks.push(all.slice(i, i + BLOCK));
  }

  /** @returns whether the user was there */
  remove(user: PoolUser): boolean {
    const at = this.#blockOf(user.place);
    const block = this.#blocks[at];
    if (block === undefined) return false;
    const index = indexAfter(block, user.place) - 1;
    if (block[index] !== user) return false;
    block.splice(index, 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
    this.#size--;
    return true;
  }

  /** Visits the users whose place is beyond `place`, in order, until `visit` returns false. The list must not change meanwhile. */
  walk(place: number, visit: (user: PoolUser) => boolean): void {
    let at = Math.max(0, this.#blockOf(place));
    let block = this.#blocks[at];
    if (block === undefined) return;
    let index = indexAfter(block, place);
    for (;;) {
      for (; index < block.length; index++) if (!visit(block[index] as PoolUser)) return;
      block = this.#blocks[++at];
      if (block === undefined) return;
      index = 0;
    }
  }

  /** The first user beyond `place`, or the very first where there is none. */
  near(place: number): PoolUser | undefined {
    let found = this.#blocks[0]?.[0];
    this.walk(place, (user) => {
      found = user;
      return false;
    });
    return found;
  }

  /** All of them, in order. Changes meanwhile are seen or not, but nobody is seen twice. */
  *[Symbol.iterator](): Generator<PoolUser> {
    let place = -1;
    for (;;) {
      const some: PoolUser[] = [];
      this.walk(place, (user) => some.push(user) < BLOCK);
      const last = some.at(-1);
      if (last === undefined) return;
      yield* some;
      place = last.place;
    }
  }

  /** The last block that begins at or before `place`; -1 where all begin later. */
  #blockOf(place: number): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const first = (this.#blocks[middle] as PoolUser[])[0] as PoolUser;
      if (first.place <= place) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** How many of the block stand at or before `place`. */
function indexAfter(block: readonly PoolUser[], place: number): number {
  let low = 0;
  let high = block.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((block[middle] as PoolUser).place <= place) low = middle + 1;
    else high = middle;
  }
  return low;
}
