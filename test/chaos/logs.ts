/** What the writers' logs tell. */
import { readFile } from 'node:fs/promises';

/** How many timelines were begun. */
export async function resyncsIn(logs: readonly string[]): Promise<number> {
  const texts = await Promise.all(logs.map((log) => readFile(log, 'utf8')));
  return texts.reduce((sum, text) => sum + (text.match(/"resync: a new timeline begins"/g)?.length ?? 0), 0);
}
