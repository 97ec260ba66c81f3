/** What the demo shows: lines that stay, and on a terminal one status line below them that is drawn again and again. */
import type { Env } from '../../../shared/settings-source.ts';
import type { Output } from '../command.ts';
import { type Paint, paintFor } from '../paint.ts';

const CLEAR_LINE = '\r\u001b[2K';
const COLUMNS = 80;

export class Screen {
  readonly paint: Paint;
  readonly terminal: boolean;
  readonly #output: Output;
  #status = '';

  constructor(output: Output, env: Env) {
    this.#output = output;
    this.paint = paintFor(output, env);
    this.terminal = output.isTTY === true && env['TERM'] !== 'dumb';
  }

  line(text = ''): void {
    this.through(`${text}\n`);
  }

  /** Finished text, a log line for one, that must not end up in the middle of the status line. */
  through(text: string, write: (text: string) => unknown = (it) => this.#output.write(it)): void {
    if (this.#status !== '') this.#output.write(CLEAR_LINE);
    write(text);
    if (this.#status !== '') this.#output.write(this.#status);
  }

  /** Nothing where there is no terminal. @param text unpainted, as it is cut where the line ends; '' takes it away */
  status(text: string): void {
    if (!this.terminal || text === this.#status) return;
    const most = (this.#output.columns ?? COLUMNS) - 1;
    const cut = text.length > most ? `${text.slice(0, most - 1)}…` : text;
    const painted = cut === '' ? '' : this.paint('dim', cut);
    this.#output.write(`${CLEAR_LINE}${painted}`);
    this.#status = painted;
  }
}

/** A bar for the status line. @param part from 0 to 1 */
export function bar(part: number, width = 24): string {
  const filled = Math.round(Math.min(1, Math.max(0, part)) * width);
  return '█'.repeat(filled) + '░'.repeat(width - filled);
}
