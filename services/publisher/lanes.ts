/**
 * Who may go now: an item waits until it is first in each of its lanes (a sub's, a username's). Pure. Items enter all their lanes at once and in
 * one order, so no two can wait for each other.
 */
export class Lanes<Item extends { readonly lanes: readonly string[] }> {
  readonly #lanes = new Map<string, Item[]>();

  /** @returns whether it may go at once */
  add(item: Item): boolean {
    for (const name of new Set(item.lanes)) {
      const lane = this.#lanes.get(name);
      if (lane === undefined) this.#lanes.set(name, [item]);
      else lane.push(item);
    }
    return this.isFirst(item);
  }

  isFirst(item: Item): boolean {
    return this.ahead(item).length === 0;
  }

  /** The first of each lane in which this one is not. */
  ahead(item: Item): Item[] {
    return item.lanes.flatMap((name) => {
      const first = this.#lanes.get(name)?.[0];
      return first === undefined || first === item ? [] : [first];
    });
  }

  /** Takes out an item that was first. @returns those that may go now */
  remove(item: Item): Item[] {
    const next: Item[] = [];
    for (const name of new Set(item.lanes)) {
      const lane = this.#lanes.get(name);
      if (lane?.[0] !== item) throw new Error('only the first of a lane can leave it');
      lane.shift();
      if (lane[0] === undefined) this.#lanes.delete(name);
      else next.push(lane[0]);
    }
    return [...new Set(next)].filter((other) => this.isFirst(other));
  }
}
