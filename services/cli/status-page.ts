/**
 * The page at `/`: what `status` prints, for who has a browser and no shell. One self-contained file, no values; a service without a database (the
 * poller) shows only whether it can work.
 */
import { oneLine } from '../../shared/errors.ts';
import type { CommandContext } from './command.ts';
import { status } from './commands/status.ts';

/** Each look opens connections; whoever reloads faster sees the last one again. */
const KEPT_MS = 5_000;
const COLUMNS = 110;

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => ESCAPES[character] ?? character);

/**
 * @param reasons why the service can't do its work now; empty: it can
 * @returns what makes the page
 */
export function statusPage(
  context: CommandContext,
  service: string,
  reasons: () => readonly string[],
): () => Promise<string> {
  let kept: { readonly at: number; readonly table: string } | null = null;
  return async () => {
    if (kept === null || performance.now() - kept.at > KEPT_MS)
      kept = { at: performance.now(), table: await table(context) };
    const standing = reasons();
    const state = standing.length === 0 ? 'ready' : `not ready: ${standing.join('; ')}`;
    return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="10"><title>cognito-feed ${escaped(service)}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color-scheme:light dark}
h1{font-size:1.1rem}pre{font:13px/1.45 ui-monospace,monospace;overflow-x:auto}</style></head>
<body><h1>cognito-feed ${escaped(service)}</h1><p>${escaped(state)}</p><pre>${escaped(kept.table)}</pre></body></html>
`;
  };
}

async function table(context: CommandContext): Promise<string> {
  if (context.settings.pools.every(({ databaseUrl }) => databaseUrl === '')) return '';
  const text: string[] = [];
  const output = { write: (part: string) => text.push(part), columns: COLUMNS };
  const env = { ...context.env, NO_COLOR: '1' };
  try {
    await status({ ...context, options: {}, stdout: output, stderr: output, env });
  } catch (error) {
    text.push(oneLine(error));
  }
  return text.join('');
}
