/** Waits for a condition, looking again and again. */
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_AGAIN_MS = 10;

/**
 * @param look gives undefined or false while it does not hold
 * @param context what to say beside `what` when time is up
 */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  context: () => string = () => '',
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what}\n${context()}`);
    await sleep(LOOK_AGAIN_MS);
  }
}
