/** The backlog against a model of Postgres and a receiver: crashes, lost checkpoints, failures, in any interleaving. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { afterCommit, comparePositions, type LoggedChange, type Position } from '../../shared/change-log.ts';
import { LSN_ZERO, parseLsn } from '../../shared/lsn.ts';
import { Backlog, type Checkpoint } from './backlog.ts';
import type { Delivery, PendingRow } from './delivery.ts';

const LIMITS = { mostChanges: 20, mostBytes: 1_000 };
const keyOf = ({ lsn, seq }: Position) => `${lsn}:${seq}`;

function change(lsn: number, seq: number, user: number, generation = 0): LoggedChange {
  return {
    ...{ pool: 'p', timeline: 't', lsn: parseLsn(lsn), seq, op: 'update', username: `u${user}` },
    ...{ sub: `s${user}-${generation}`, changed: [], old: null, new: null, committedAt: new Date(0), bytes: 10 },
  };
}

/** What a publisher would keep, and what a receiver got. */
class World {
  position: Position = afterCommit(LSN_ZERO);
  readonly pending = new Map<string, PendingRow>();
  readonly dead = new Set<string>();
  readonly received: LoggedChange[] = [];
  readonly log: readonly LoggedChange[];
  backlog = new Backlog(this.position, LIMITS);
  delayed: Delivery[] = [];
  crashes = 0;

  constructor(log: readonly LoggedChange[]) {
    this.log = log;
  }

  read(most: number): void {
    const { backlog } = this;
    const room = Math.min(most, backlog.room);
    if (room === 0) return;
    const page = this.log.filter((it) => comparePositions(it, backlog.readUpTo) > 0).slice(0, room);
    const last = page.at(-1);
    backlog.read(page, last === undefined ? backlog.readUpTo : { lsn: last.lsn, seq: last.seq });
  }

  send(most: number, outcomes: readonly string[]): void {
    this.backlog.take(most).forEach((delivery, i) => {
      const full = this.log.find((it) => comparePositions(it, delivery.position) === 0);
      if (full === undefined) throw new Error('a change from nowhere');
      this.backlog.loaded(delivery, full);
      const outcome = outcomes[i % outcomes.length];
      if (outcome !== 'interrupted') delivery.tries++;
      if (outcome === 'interrupted') this.backlog.interrupted(delivery);
      else if (outcome === 'failed') {
        delivery.nextTryAt = 1;
        this.backlog.failed(delivery);
        this.delayed.push(delivery);
      } else {
        if (outcome === 'delivered') this.received.push(full);
        if (outcome === 'delivered') this.delayed.push(...this.backlog.delivered(delivery));
        else this.backlog.died(delivery);
      }
    });
  }

  due(which: number): void {
    const [delivery] = this.delayed.splice(which % Math.max(1, this.delayed.length), 1);
    if (delivery !== undefined) this.backlog.due(delivery);
  }

  checkpoint(fate: string): void {
    const checkpoint = this.backlog.checkpoint();
    if (checkpoint === null) return;
    if (fate === 'lost') this.backlog.restore(checkpoint);
    else {
      this.#write(checkpoint);
      this.delayed.push(...this.backlog.written(checkpoint));
    }
  }

  #write({ position, pending, gone, dead }: Checkpoint): void {
    expect(comparePositions(position, this.position)).toBeGreaterThanOrEqual(0);
    this.position = position;
    for (const delivery of gone) this.pending.delete(keyOf(delivery.position));
    for (const delivery of pending) this.pending.set(keyOf(delivery.position), { ...delivery });
    for (const delivery of dead) this.dead.add(keyOf(delivery.position));
  }

  crash(): void {
    this.crashes++;
    this.backlog = new Backlog(this.position, LIMITS);
    const rows = [...this.pending.values()].sort((a, b) => comparePositions(a.position, b.position));
    this.delayed = this.backlog.claimed(rows);
  }

  finish(): void {
    for (let round = 0; round < 10_000; round++) {
      this.read(5);
      while (this.delayed.length > 0) this.due(0);
      this.send(10, ['delivered']);
      this.checkpoint('written');
      const last = this.log.at(-1);
      if (this.backlog.unsettled === 0 && (last === undefined || comparePositions(this.backlog.readUpTo, last) >= 0))
        return;
    }
    throw new Error('it never ends');
  }
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('read' as const), n: fc.integer({ min: 1, max: 6 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      n: fc.integer({ min: 1, max: 5 }),
      outcomes: fc.array(fc.constantFrom('delivered', 'delivered', 'failed', 'died', 'interrupted'), {
        minLength: 1,
        maxLength: 5,
      }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('due' as const), n: fc.nat(20) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('checkpoint' as const),
      fate: fc.constantFrom('written', 'written', 'lost'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const) }) },
);

describe('the backlog', () => {
  test('whatever fails, dies or crashes: each change is received or a dead letter, first receptions in order for each user', () => {
    let crashes = 0;
    fc.assert(
      fc.property(
        fc.array(fc.record({ user: fc.nat(3), reuse: fc.boolean() }), { minLength: 1, maxLength: 40 }),
        fc.array(step, { maxLength: 120 }),
        (users, steps) => {
          const log = users.map(({ user, reuse }, n) => change(1 + (n >> 1), n & 1, user, reuse ? 1 : 0));
          const world = new World(log);
          for (const it of steps) {
            if (it.do === 'read') world.read(it.n);
            else if (it.do === 'send') world.send(it.n, it.outcomes);
            else if (it.do === 'due') world.due(it.n);
            else if (it.do === 'checkpoint') world.checkpoint(it.fate);
            else world.crash();
            // Nothing may be lost here: what the position has passed is received, dead or pending.
            const got = new Set([...world.received.map(keyOf), ...world.dead, ...world.pending.keys()]);
            const passed = log.filter((entry) => comparePositions(entry, world.position) <= 0);
            expect(passed.filter((entry) => !got.has(keyOf(entry)))).toEqual([]);
          }
          crashes += world.crashes;
          world.finish();
          const got = new Set(world.received.map(keyOf));
          expect(log.filter((entry) => !got.has(keyOf(entry)) && !world.dead.has(keyOf(entry)))).toEqual([]);
          expect(world.pending.size).toBe(0);
          const firsts = world.received.filter((entry, i) => world.received.indexOf(entry) === i);
          for (const name of new Set(log.map(({ username }) => username))) {
            const mine = firsts.filter((entry) => entry.username === name);
            expect(mine).toEqual([...mine].sort(comparePositions));
          }
        },
      ),
      { numRuns: 2_500 },
    );
    expect(crashes).toBeGreaterThan(500);
  }, 60_000);

  test('a user who fails holds up nobody: the position passes what he and those behind him owe', () => {
    const world = new World([change(1, 0, 1), change(2, 0, 1), change(3, 0, 2), change(4, 0, 1), change(5, 0, 3)]);
    world.read(5);
    world.send(1, ['failed']);
    world.send(5, ['delivered']);
    world.checkpoint('written');
    expect(world.position).toEqual({ lsn: 5, seq: 0 });
    expect([...world.pending.keys()]).toEqual(['1:0', '2:0', '4:0']);
    expect(world.received.map(keyOf)).toEqual(['3:0', '5:0']);
    world.finish();
    expect(world.received.map(keyOf)).toEqual(['3:0', '5:0', '1:0', '2:0', '4:0']);
  });

  test('what has failed is passed though it is under way again; delivered then, it is removed from the pending', () => {
    const world = new World([change(1, 0, 1), change(2, 0, 2)]);
    world.read(2);
    world.send(2, ['failed', 'delivered']);
    world.due(0);
    const [again] = world.backlog.take(1);
    if (again === undefined) throw new Error('nothing is ready');
    world.checkpoint('written');
    expect(world.position).toEqual({ lsn: 2, seq: 0 });
    expect([...world.pending.values()]).toMatchObject([{ tries: 1, position: { lsn: 1 } }]);
    world.backlog.delivered(again);
    world.checkpoint('written');
    expect(world.pending.size).toBe(0);
  });

  test('what is under way for the first time is not passed', () => {
    const { backlog } = new World([]);
    backlog.read([change(1, 0, 1), change(2, 0, 2)], { lsn: parseLsn(2), seq: 0 });
    const [first, second] = backlog.take(2);
    if (first === undefined || second === undefined) throw new Error('nothing is ready');
    backlog.delivered(second);
    expect(backlog.checkpoint()).toBeNull();
    backlog.delivered(first);
    expect(backlog.checkpoint()?.position).toEqual({ lsn: 2, seq: 0 });
  });

  test('is bounded in changes and in bytes; rows of what failed are not kept', () => {
    const one = new Backlog(afterCommit(LSN_ZERO), { mostChanges: 3, mostBytes: 25 });
    const end = { lsn: parseLsn(9), seq: 0 };
    one.read([change(1, 0, 1), change(2, 0, 2)], end);
    expect(one.room).toBe(1);
    one.read([change(3, 0, 3)], end);
    expect(one.room).toBe(0);
    for (const delivery of one.take(3)) one.failed(delivery);
    expect(one.room).toBe(0);
    const byBytes = new Backlog(afterCommit(LSN_ZERO), { mostChanges: 100, mostBytes: 25 });
    byBytes.read(
      [1, 2, 3].map((n) => change(n, 0, n)),
      end,
    );
    expect(byBytes.room).toBe(0);
    for (const delivery of byBytes.take(1)) byBytes.failed(delivery);
    expect(byBytes.room).toBe(97);
  });
});
