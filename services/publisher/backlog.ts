/**
 * What a publisher has in memory for one target: changes read and not settled, each in its lanes, and the position up to which all is settled.
 * Pure. ARCHITECTURE.md, "The publisher", has the argument.
 */
import { comparePositions, type LoggedChange, type Position } from '../../shared/change-log.ts';
import { type Delivery, deliveryOf, deliveryOfPending, type PendingRow } from './delivery.ts';
import { Lanes } from './lanes.ts';

export interface BacklogLimits {
  /** Changes not settled, those in `pending_deliveries` among them. */
  readonly mostChanges: number;
  /** Of rows, as text. */
  readonly mostBytes: number;
}

export const BACKLOG_LIMITS: BacklogLimits = { mostChanges: 10_000, mostBytes: 33_554_432 };

/** What is to be written in one statement: the position, and the rows that it passes over. */
export interface Checkpoint {
  readonly position: Position;
  /** To be inserted into `pending_deliveries`, or updated there. */
  readonly pending: readonly Delivery[];
  /** To be removed from there. */
  readonly gone: readonly Delivery[];
  /** To be inserted into `dead_letters`. */
  readonly dead: readonly Delivery[];
}

type Line = { readonly kind: 'pending' | 'gone' | 'dead'; readonly delivery: Delivery };

const keyOf = ({ lsn, seq }: Position): string => `${lsn}:${seq}`;

export class Backlog {
  readonly #limits: BacklogLimits;
  readonly #lanes = new Lanes<Delivery>();
  /** Read from the log and not yet passed by the position, in its order. */
  #unpassed: Delivery[] = [];
  readonly #ready: Delivery[] = [];
  #journal = new Map<string, Line>();
  /** Everything up to here has been read. */
  #readUpTo: Position;
  #position: Position;
  #unsettled = 0;
  #bytes = 0;

  constructor(position: Position, limits: BacklogLimits = BACKLOG_LIMITS) {
    this.#readUpTo = position;
    this.#position = position;
    this.#limits = limits;
  }

  get readUpTo(): Position {
    return this.#readUpTo;
  }

  /** Changes that may still come in. */
  get room(): number {
    if (this.#bytes >= this.#limits.mostBytes) return 0;
    return Math.max(0, this.#limits.mostChanges - Math.max(this.#unsettled, this.#unpassed.length));
  }

  get unsettled(): number {
    return this.#unsettled;
  }

  /** @param wanted those of the page that the target wants. @param end up to where the page goes */
  read(wanted: readonly LoggedChange[], end: Position): void {
    for (const change of wanted) {
      const delivery = deliveryOf(change);
      this.#unpassed.push(delivery);
      this.#enter(delivery);
    }
    this.#readUpTo = end;
  }

  /** Claimed from `pending_deliveries`. @returns those that are first in their lanes but not due yet */
  claimed(rows: readonly PendingRow[]): Delivery[] {
    const deliveries = rows.map(deliveryOfPending);
    for (const delivery of deliveries) this.#enter(delivery);
    return deliveries.filter((delivery) => delivery.state === 'delayed');
  }

  /** Takes up to `most` changes that may go now; each is of another user. */
  take(most: number): Delivery[] {
    const taken = this.#ready.splice(0, most);
    for (const delivery of taken) delivery.state = 'flying';
    return taken;
  }

  /** A row that was read again. */
  loaded(delivery: Delivery, change: LoggedChange): void {
    if (delivery.change === null) this.#bytes += change.bytes;
    delivery.change = change;
  }

  /** @returns those whose turn it is now but who are not due yet */
  delivered(delivery: Delivery): Delivery[] {
    if (delivery.durable) this.#note('gone', delivery);
    return this.#settle(delivery);
  }

  /**
   * Given up, for the reason that it carries. Its user goes on when the dead letter is written: after a crash before that it would be sent once more,
   * and must not then come after what followed it.
   */
  died(delivery: Delivery): void {
    delivery.state = 'dead';
    this.#unload(delivery);
    this.#note('dead', delivery);
  }

  /** Failed, and to be tried again when `due` is called; it stays first in its lanes. */
  failed(delivery: Delivery): void {
    delivery.state = 'delayed';
    this.#unload(delivery);
    if (delivery.durable) this.#note('pending', delivery);
  }

  /** Nobody knows what came of it: it goes again, before all others. */
  interrupted(delivery: Delivery): void {
    delivery.state = 'ready';
    this.#ready.unshift(delivery);
  }

  due(delivery: Delivery): void {
    if (delivery.state !== 'delayed') return;
    delivery.state = 'ready';
    this.#ready.push(delivery);
  }

  /** What is to be written now; `null` where there is nothing new. Once that is done: `written`; else `restore`. */
  checkpoint(): Checkpoint | null {
    const before = this.#position;
    this.#pass();
    if (this.#journal.size === 0 && comparePositions(before, this.#position) === 0) return null;
    const lines = [...this.#journal.values()];
    this.#journal = new Map();
    const of = (kind: Line['kind']) => lines.filter((line) => line.kind === kind).map(({ delivery }) => delivery);
    const dead = of('dead');
    return {
      position: this.#position,
      pending: of('pending'),
      gone: [...of('gone'), ...dead],
      dead,
    };
  }

  /** @returns as `delivered` */
  written({ dead }: Checkpoint): Delivery[] {
    return dead.flatMap((delivery) => this.#settle(delivery));
  }

  /** The checkpoint was not written, or nobody knows: its lines count again, unless there is later news. */
  restore({ pending, gone, dead }: Checkpoint): void {
    const lines = new Map<string, Line>();
    for (const [kind, deliveries] of Object.entries({ gone, pending, dead } as const)) {
      for (const delivery of deliveries) lines.set(keyOf(delivery.position), { kind: kind as Line['kind'], delivery });
    }
    for (const [key, line] of this.#journal) lines.set(key, line);
    this.#journal = lines;
  }

  /** Moves the position over what is settled, and over what can be put down as pending: failed, or behind one that is. */
  #pass(): void {
    let passed = 0;
    for (const delivery of this.#unpassed) {
      if (delivery.state !== 'settled' && delivery.state !== 'dead' && !delivery.durable) {
        // Under way again or not: what has failed once may fail for a day, and the position must not wait for it.
        const held = delivery.tries > 0 || this.#lanes.ahead(delivery).some((first) => first.durable);
        if (!held) break;
        delivery.durable = true;
        this.#unload(delivery);
        this.#note('pending', delivery);
      }
      this.#position = delivery.position;
      passed++;
    }
    if (passed > 0) this.#unpassed = this.#unpassed.slice(passed);
    if (this.#unpassed.length === 0) this.#position = this.#readUpTo;
  }

  #enter(delivery: Delivery): void {
    this.#unsettled++;
    this.#bytes += delivery.change?.bytes ?? 0;
    if (this.#lanes.add(delivery)) this.#first(delivery);
  }

  #first(delivery: Delivery): void {
    if (delivery.nextTryAt !== null) {
      delivery.state = 'delayed';
      return;
    }
    delivery.state = 'ready';
    this.#ready.push(delivery);
  }

  #settle(delivery: Delivery): Delivery[] {
    delivery.state = 'settled';
    this.#unload(delivery);
    this.#unsettled--;
    const next = this.#lanes.remove(delivery);
    for (const other of next) this.#first(other);
    return next.filter((other) => other.state === 'delayed');
  }

  #note(kind: Line['kind'], delivery: Delivery): void {
    this.#journal.set(keyOf(delivery.position), { kind, delivery });
  }

  #unload(delivery: Delivery): void {
    this.#bytes -= delivery.change?.bytes ?? 0;
    delivery.change = null;
  }
}
