/**
 * What was asked of the emulator, for tests. Bounded: lists keep their newest entries.
 */
const KEPT = 65_536;

export interface ListRequest {
  /** Milliseconds since the epoch with a fraction, by a clock that never goes back. */
  readonly at: number;
  readonly pool: string;
  readonly filter: string | undefined;
  readonly limit: number | undefined;
  /** Whether it carried a token. */
  readonly continued: boolean;
}

export class RequestRecord {
  #requests: Record<string, number> = {};
  #answers: Record<string, number> = {};
  #lists = new Newest<ListRequest>(KEPT);
  #lookups = new Newest<string>(KEPT);
  #underWay = 0;
  #maxConcurrency = 0;

  /** Requests by operation, whatever became of them. */
  get requests(): Readonly<Record<string, number>> {
    return this.#requests;
  }

  /** Answers by outcome: `ok`, an error's name, or the kind of a failure (`html`, `drop-before`, …). */
  get answers(): Readonly<Record<string, number>> {
    return this.#answers;
  }

  get throttled(): number {
    return this.#answers['TooManyRequestsException'] ?? 0;
  }

  get underWay(): number {
    return this.#underWay;
  }

  /** The most requests that were under way at once. */
  get maxConcurrency(): number {
    return this.#maxConcurrency;
  }

  /** ListUsers requests, oldest first. */
  get lists(): readonly ListRequest[] {
    return this.#lists.values();
  }

  /** Whom AdminGetUser was asked for, oldest first. */
  get lookups(): readonly string[] {
    return this.#lookups.values();
  }

  /** The most ListUsers requests in any window of so many milliseconds. */
  peakLists(windowMs = 1000): number {
    const times = this.#lists.values().map(({ at }) => at);
    let peak = 0;
    for (let first = 0, last = 0; last < times.length; last++) {
      while ((times[last] ?? 0) - (times[first] ?? 0) >= windowMs) first++;
      peak = Math.max(peak, last - first + 1);
    }
    return peak;
  }

  clear(): void {
    this.#requests = {};
    this.#answers = {};
    this.#lists = new Newest(KEPT);
    this.#lookups = new Newest(KEPT);
    this.#maxConcurrency = this.#underWay;
  }

  began(operation: string): void {
    this.#requests[operation] = (this.#requests[operation] ?? 0) + 1;
    this.#underWay++;
    this.#maxConcurrency = Math.max(this.#maxConcurrency, this.#underWay);
  }

  ended(): void {
    this.#underWay--;
  }

  answered(outcome: string): void {
    this.#answers[outcome] = (this.#answers[outcome] ?? 0) + 1;
  }

  listed(request: Omit<ListRequest, 'at'>): void {
    this.#lists.push({ at: performance.timeOrigin + performance.now(), ...request });
  }

  lookedUp(username: string): void {
    this.#lookups.push(username);
  }
}

/** A ring of the newest `capacity` entries. */
class Newest<T> {
  readonly #capacity: number;
  readonly #ring: T[] = [];
  #next = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  push(entry: T): void {
    this.#ring[this.#next] = entry;
    this.#next = (this.#next + 1) % this.#capacity;
  }

  values(): T[] {
    return [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
  }
}
