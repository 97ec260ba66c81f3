/**
 * The control endpoint, for an emulator that is a process of its own.
 * - `GET /__control` and every `POST /__control`: the state, see `stateOf`
 * - `POST /__control` with JSON: an order, see `orderSchema`; its parts are carried out in the schema's sequence
 * - `GET /__control/record`: the ListUsers requests and whom AdminGetUser was asked for, newest 65,536 of each
 * - `GET /__control/users?pool=ID`: all true, current users, one a line, as ListUsers spells them
 * What is not understood is answered by 400 and one line of text.
 */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { type ChurnStep, churn } from './churn.ts';
import type { Emulator } from './emulator.ts';
import { faultPatchSchema } from './faults.ts';
import { hostileUsers } from './hostile-users.ts';

const count = z.number().int().nonnegative();

const orderSchema = z.strictObject({
  /** Ends all faults, before new ones are set. */
  reset: z.boolean().optional(),
  faults: faultPatchSchema.optional(),
  clearRecord: z.boolean().optional(),
  createPool: z
    .strictObject({
      id: z.string(),
      subs: z.enum(['uuid4', 'regional']).optional(),
      usernames: z.enum(['sub', 'own']).optional(),
      emailAlias: z.boolean().optional(),
      disableMovesDate: z.boolean().optional(),
      seed: z.number().optional(),
    })
    .optional(),
  deletePool: z.string().optional(),
  /** The pool that the following are about; default: the first. */
  pool: z.string().optional(),
  /** So many ordinary users are added. */
  fill: count.optional(),
  /** So many hostile users are added, made from the seed. */
  hostile: z.strictObject({ users: count, seed: z.number().default(1) }).optional(),
  /** So many changes are made; the answer lists them as `churned`. */
  churn: z.strictObject({ steps: count, seed: z.number().default(1) }).optional(),
});

export type ControlOrder = z.input<typeof orderSchema>;

export async function control(
  emulator: Emulator,
  request: IncomingMessage,
  body: string,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', emulator.endpoint);
  try {
    if (request.method === 'GET' && url.pathname === '/__control/users') {
      await sendUsers(emulator, url.searchParams.get('pool') ?? undefined, response);
      return;
    }
    if (request.method === 'GET' && url.pathname === '/__control/record') {
      const { lists, lookups } = emulator.record;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ lists, lookups }));
      return;
    }
    const churned = request.method === 'POST' ? carryOut(emulator, orderSchema.parse(JSON.parse(body))) : [];
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ ...stateOf(emulator), churned }));
  } catch (error) {
    if (response.headersSent) throw error;
    const message = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    response.writeHead(400, { 'content-type': 'text/plain' });
    response.end(`${message}\n`);
  }
}

function carryOut(emulator: Emulator, order: z.output<typeof orderSchema>): ChurnStep[] {
  if (order.reset === true) emulator.faults.reset();
  if (order.faults !== undefined) emulator.faults.set(order.faults);
  if (order.clearRecord === true) emulator.record.clear();
  if (order.createPool !== undefined) emulator.createPool(order.createPool);
  if (order.deletePool !== undefined) emulator.deletePool(order.deletePool);
  const pool = emulator.pool(order.pool);
  if (order.fill !== undefined) pool.fill(order.fill);
  if (order.hostile !== undefined) pool.load(hostileUsers(order.hostile.users, order.hostile.seed));
  const steps: ChurnStep[] = [];
  if (order.churn !== undefined) {
    const changes = churn(pool, { seed: order.churn.seed });
    for (let i = 0; i < order.churn.steps; i++) steps.push(changes.next().value);
  }
  return steps;
}

function stateOf(emulator: Emulator): object {
  const { faults, record } = emulator;
  const { requests, answers, throttled, underWay, maxConcurrency } = record;
  return {
    faults: faults.settings,
    record: { requests, answers, throttled, underWay, maxConcurrency, peakListsPerSecond: record.peakLists() },
    pools: emulator.pools().map(({ id, clientId, size }) => ({ id, clientId, users: size })),
  };
}

async function sendUsers(emulator: Emulator, id: string | undefined, response: ServerResponse): Promise<void> {
  const pool = emulator.pool(id);
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  let lines: string[] = [];
  for (const json of pool.records()) {
    if (lines.push(json) < 1000) continue;
    const drained = response.write(`${lines.join('\n')}\n`);
    lines = [];
    if (!drained) await once(response, 'drain');
  }
  response.end(lines.length === 0 ? '' : `${lines.join('\n')}\n`);
}
