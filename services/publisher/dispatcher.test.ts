/** How many go at once, when a failure is tried again, and what stops it all. The clock is the test's. */
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { afterCommit, type LoggedChange } from '../../shared/change-log.ts';
import { LSN_ZERO, parseLsn } from '../../shared/lsn.ts';
import { Backlog } from './backlog.ts';
import type { Outcome } from './delivery.ts';
import { Dispatcher } from './dispatcher.ts';
import { RETRY_SCHEDULE } from './retry-schedule.ts';

const DELIVERED: Outcome = { kind: 'delivered' };
const FAILED: Outcome = { kind: 'failed', reason: 'HTTP 500', retryAfterMs: null };

function change(n: number): LoggedChange {
  return {
    ...{ pool: 'p', timeline: 't', lsn: parseLsn(n), seq: 0, op: 'update', username: `u${n}`, sub: `s${n}` },
    ...{ changed: [], old: null, new: null, committedAt: new Date(0), bytes: 10 },
  };
}

/** A target whose answers the test gives one by one, under a clock that it moves. */
function scene(parallel: readonly [number, number] = [2, 6]) {
  let now = 0;
  const timers = new Set<{ at: number; call: () => void }>();
  const underWay: { lsn: number; answer: (outcome: Outcome) => Promise<void> }[] = [];
  const log = Array.from({ length: 60 }, (_, i) => change(i + 1));
  const backlog = new Backlog(afterCommit(LSN_ZERO));
  const state = { mayDeliver: true, logHolds: true };
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
  const dispatcher = new Dispatcher({
    backlog,
    target: {
      ...{ name: 'x', most: 1, parallel, wants: () => true, close: () => undefined },
      deliver: ([sent], signal) =>
        new Promise((resolve) => {
          const answer = async (outcome: Outcome) => {
            underWay.splice(
              underWay.findIndex(({ lsn }) => lsn === sent?.lsn),
              1,
            );
            resolve([outcome]);
            await settled();
          };
          signal.addEventListener('abort', () => void answer({ kind: 'interrupted' }));
          underWay.push({ lsn: sent?.lsn ?? 0, answer });
        }),
    },
    schedule: RETRY_SCHEDULE,
    clock: {
      now: () => now,
      after(ms, call) {
        const timer = { at: now + ms, call };
        timers.add(timer);
        return () => timers.delete(timer);
      },
    },
    wallClock: () => now,
    random: () => 0,
    load: async ({ lsn }) => (state.logHolds ? (log.find((it) => it.lsn === lsn) ?? null) : null),
    mayDeliver: () => state.mayDeliver,
    log: pino({ level: 'silent' }),
  });
  const advance = async (ms: number) => {
    now += ms;
    for (const timer of [...timers]) {
      if (timer.at > now) continue;
      timers.delete(timer);
      timer.call();
    }
    await settled();
  };
  const read = async (count: number) => {
    backlog.read(log.slice(0, count), { lsn: parseLsn(count), seq: 0 });
    dispatcher.pump();
    await settled();
  };
  return { dispatcher, backlog, underWay, state, advance, read, settled };
}

describe('the dispatcher', () => {
  test('one more at once for each success up to the most, half for a failure down to the least', async () => {
    const { underWay, read } = scene();
    await read(40);
    expect(underWay.map(({ lsn }) => lsn)).toEqual([1, 2, 3, 4]);
    await underWay[0]?.answer(DELIVERED);
    expect(underWay).toHaveLength(5);
    for (let n = 0; n < 5; n++) await underWay[0]?.answer(DELIVERED);
    expect(underWay).toHaveLength(6);
    await underWay[0]?.answer(FAILED);
    expect(underWay).toHaveLength(5);
    while (underWay.length > 2) await underWay[0]?.answer(FAILED);
    await underWay[0]?.answer(FAILED);
    expect(underWay).toHaveLength(2);
  });

  test('a failure is tried again after 1 s, 2 s, 4 s to the millisecond, and is a dead letter after 24 h', async () => {
    const { underWay, read, advance, backlog } = scene();
    await read(1);
    for (const ms of [1_000, 2_000, 4_000]) {
      await underWay[0]?.answer(FAILED);
      await advance(ms - 1);
      expect(underWay).toHaveLength(0);
      await advance(1);
      expect(underWay).toHaveLength(1);
    }
    await advance(86_400_000);
    await underWay[0]?.answer(FAILED);
    const { dead } = backlog.checkpoint() ?? {};
    expect(dead).toMatchObject([{ tries: 4, reason: 'HTTP 500', position: { lsn: 1 } }]);
    await advance(86_400_000);
    expect(underWay).toHaveLength(0);
  });

  test('sends nothing without the lease, and goes on when it is renewed', async () => {
    const { dispatcher, underWay, read, state, settled } = scene();
    state.mayDeliver = false;
    await read(3);
    expect(underWay).toHaveLength(0);
    state.mayDeliver = true;
    dispatcher.pump();
    await settled();
    expect(underWay).toHaveLength(3);
  });

  test('what has left the log before its next try is a dead letter that says so', async () => {
    const { underWay, read, state, advance, backlog } = scene();
    await read(1);
    await underWay[0]?.answer(FAILED);
    state.logHolds = false;
    await advance(1_000);
    expect(underWay).toHaveLength(0);
    expect(backlog.checkpoint()?.dead).toMatchObject([{ reason: 'HTTP 500; the change has left the change log' }]);
  });

  test('stopping: nothing new, time for what is under way, then it is cut off and not passed', async () => {
    const { dispatcher, underWay, read, advance, backlog } = scene();
    await read(10);
    const stopped = dispatcher.stop(5_000);
    await underWay[0]?.answer(DELIVERED);
    expect(underWay.map(({ lsn }) => lsn)).toEqual([2, 3, 4]);
    await advance(5_000);
    await stopped;
    expect(underWay).toHaveLength(0);
    expect(backlog.checkpoint()?.position).toEqual({ lsn: 1, seq: 0 });
  });
});
