import { describe, expect, it } from 'vitest';
import { type Clock, DEADLINE_MS, SAME_SIGNAL_MS, Shutdown, type StoppableProcess } from './shutdown.ts';

class FakeClock implements Clock {
  #now = 1_000;
  readonly #calls: { at: number; call: () => void }[] = [];
  now(): number {
    return this.#now;
  }
  after(ms: number, call: () => void): () => void {
    const entry = { at: this.#now + ms, call };
    this.#calls.push(entry);
    return () => void this.#calls.splice(this.#calls.indexOf(entry), 1);
  }
  advance(ms: number): void {
    this.#now += ms;
    for (const due of this.#calls.filter((entry) => entry.at <= this.#now)) {
      this.#calls.splice(this.#calls.indexOf(due), 1);
      due.call();
    }
  }
}

class FakeProcess implements StoppableProcess {
  readonly exits: number[] = [];
  readonly #listeners = new Map<string, () => void>();
  on(signal: string, listener: () => void): void {
    this.#listeners.set(signal, listener);
  }
  exit(code: number): void {
    this.exits.push(code);
  }
  receive(signal: 'SIGTERM' | 'SIGINT'): void {
    this.#listeners.get(signal)?.();
  }
}

function setUp() {
  const process = new FakeProcess();
  const clock = new FakeClock();
  const shutdown = new Shutdown(process, clock);
  const heard: unknown[] = [];
  shutdown.listener = { stopping: (reason) => heard.push(reason), overdue: (undone) => heard.push(undone) };
  return { process, clock, shutdown, heard };
}

describe('shutdown', () => {
  it('aborts at the first signal and exits nothing', () => {
    const { process, shutdown, heard } = setUp();
    expect(shutdown.signal.aborted).toBe(false);
    process.receive('SIGTERM');
    expect(shutdown.signal.aborted).toBe(true);
    expect(shutdown.signal.reason).toMatchObject({ name: 'AbortError' });
    expect(heard).toEqual(['SIGTERM']);
    expect(process.exits).toEqual([]);
  });

  it('takes a second signal within a second for the first one again', () => {
    const { process, clock } = setUp();
    process.receive('SIGTERM');
    process.receive('SIGTERM');
    clock.advance(SAME_SIGNAL_MS);
    process.receive('SIGINT');
    expect(process.exits).toEqual([]);
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('exits at once at a %s more than a second after the first signal', (signal, code) => {
    const { process, clock } = setUp();
    process.receive('SIGTERM');
    process.receive('SIGTERM');
    clock.advance(SAME_SIGNAL_MS + 1);
    process.receive(signal);
    expect(process.exits).toEqual([code]);
  });

  it('ends at the deadline, below 10 s: with 0 when nothing is left undone', () => {
    const { process, clock, shutdown, heard } = setUp();
    const done = shutdown.underWay('batch 7');
    process.receive('SIGINT');
    done();
    clock.advance(DEADLINE_MS - 1);
    expect(process.exits).toEqual([]);
    clock.advance(1);
    expect(process.exits).toEqual([0]);
    expect(heard).toEqual(['SIGINT', []]);
    expect(DEADLINE_MS).toBeLessThan(10_000);
  });

  it('ends at the deadline with 1 and names what is left undone', () => {
    const { process, clock, shutdown, heard } = setUp();
    shutdown.underWay('batch 7');
    shutdown.underWay('batch 7');
    process.receive('SIGTERM');
    clock.advance(DEADLINE_MS);
    expect(process.exits).toEqual([1]);
    expect(heard).toEqual(['SIGTERM', ['batch 7', 'batch 7']]);
  });

  it('has no deadline once the command has ended, and still survives the second of a pair', () => {
    const { process, clock, shutdown } = setUp();
    process.receive('SIGTERM');
    shutdown.finish();
    process.receive('SIGTERM');
    clock.advance(DEADLINE_MS);
    expect(process.exits).toEqual([]);
  });

  it('can begin without a signal, once', () => {
    const { process, clock, shutdown, heard } = setUp();
    shutdown.begin('nobody reads');
    shutdown.begin('again');
    expect(heard).toEqual(['nobody reads']);
    clock.advance(SAME_SIGNAL_MS + 1);
    process.receive('SIGTERM');
    expect(process.exits).toEqual([143]);
  });
});
