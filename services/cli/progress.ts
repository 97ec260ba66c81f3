import cliProgress from 'cli-progress';
import type { Output } from './command.ts';

export interface ProgressBar {
  /** @param total an estimate; null: unknown yet */
  show(done: number, total: number | null): void;
  stop(): void;
}

/** A bar on a terminal, nothing elsewhere. */
export function progressBar(output: Output, label: string): ProgressBar {
  if (output.isTTY !== true) return { show: () => undefined, stop: () => undefined };
  const bar = new cliProgress.SingleBar(
    {
      format: `${label} {bar} {value}/{total} users, {duration_formatted}`,
      hideCursor: true,
      stream: output as NodeJS.WriteStream,
    },
    cliProgress.Presets.shades_classic,
  );
  let started = false;
  return {
    show(done, total) {
      const most = Math.max(done, total ?? done);
      if (!started) bar.start(most, done);
      else {
        bar.setTotal(most);
        bar.update(done);
      }
      started = true;
    },
    stop() {
      if (started) bar.stop();
    },
  };
}
