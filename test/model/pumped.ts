/** Doors in memory for a test without a schedule: every step is done as soon as it can be. */
import { Process, Scheduler } from './scheduler.ts';

export interface Pump {
  readonly scheduler: Scheduler;
  readonly process: Process;
  stop(): Promise<void>;
}

export function startPump(name: string): Pump {
  const scheduler = new Scheduler();
  const state = { stopped: false };
  const pumping = (async () => {
    while (!state.stopped) {
      const done = await scheduler.go(50);
      // Nothing to do: the other side, which takes real time, is to be heard.
      if (done === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  return {
    scheduler,
    process: new Process(name),
    stop: async () => {
      state.stopped = true;
      await pumping;
    },
  };
}
