/** Which changes an endpoint gets. Pure. */
import type { LoggedChange } from '../../shared/change-log.ts';
import type { WebhookSettings } from '../../shared/settings-webhook.ts';

export type Filter = Pick<WebhookSettings, 'ops' | 'columns' | 'attributes'>;

/** Never a `read`. Inserts and deletes pass whatever columns and attributes are asked for: with them, all of these change. */
export function passes(
  { op, changed }: Pick<LoggedChange, 'op' | 'changed'>,
  { ops, columns, attributes }: Filter,
): boolean {
  if (op === 'read' || (ops !== null && !ops.includes(op))) return false;
  if (op !== 'update' || (columns === null && attributes === null)) return true;
  return changed.some((name) =>
    name.startsWith('attributes.')
      ? columns?.includes('attributes') || attributes?.includes(name.slice('attributes.'.length))
      : columns?.includes(name),
  );
}
