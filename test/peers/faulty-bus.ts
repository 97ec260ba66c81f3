/** A proxy before an EventBridge: PutEvents fails there in part or as a whole, as AWS's may; everything else goes through. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface PutEntry {
  readonly Source: string;
  readonly DetailType: string;
  readonly Detail: string;
  readonly EventBusName: string;
}

/** What becomes of a request, besides its entries. */
export type RequestFault = 'none' | 'throttled' | 'reset' | 'answer lost';

export interface BusFaults {
  /** An entry's error code; null: it goes through. */
  entry(entry: PutEntry): string | null;
  request(entries: readonly PutEntry[]): RequestFault;
}

export interface FaultyBus {
  readonly endpoint: string;
  faults: BusFaults;
  /** Entries of each request, in the order of their arrival. */
  readonly requests: (readonly PutEntry[])[];
  /** Entries that went through, in order. */
  readonly passed: PutEntry[];
}

interface PutResult {
  readonly Entries: { readonly EventId?: string; readonly ErrorCode?: string }[];
}

export async function startFaultyBus(upstream: string): Promise<FaultyBus> {
  const bus: FaultyBus = {
    endpoint: '',
    faults: { entry: () => null, request: () => 'none' },
    requests: [],
    passed: [],
  };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const forward = async (text: string) => {
      const headers = new Headers();
      for (const name of ['content-type', 'x-amz-target', 'authorization', 'x-amz-date'])
        headers.set(name, String(request.headers[name] ?? ''));
      const answer = await fetch(`${upstream}${request.url}`, { method: 'POST', headers, body: text });
      return { status: answer.status, text: await answer.text() };
    };
    const reply = (status: number, text: string) =>
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(text);
    if (request.headers['x-amz-target'] !== 'AWSEvents.PutEvents') {
      const { status, text } = await forward(body);
      reply(status, text);
      return;
    }
    const { Entries: entries } = JSON.parse(body) as { Entries: PutEntry[] };
    bus.requests.push(entries);
    const fault = bus.faults.request(entries);
    if (fault === 'reset') {
      request.socket.destroy();
      return;
    }
    if (fault === 'throttled') {
      reply(400, JSON.stringify({ __type: 'ThrottlingException', message: 'Rate exceeded' }));
      return;
    }
    const codes = entries.map((entry) => bus.faults.entry(entry));
    const through = entries.filter((_, i) => codes[i] === null);
    bus.passed.push(...through);
    const results =
      through.length === 0
        ? []
        : (JSON.parse((await forward(JSON.stringify({ Entries: through }))).text) as PutResult).Entries;
    if (fault === 'answer lost') {
      request.socket.destroy();
      return;
    }
    const merged = codes.map((code) =>
      code === null ? results.shift() : { ErrorCode: code, ErrorMessage: 'as the test wants' },
    );
    reply(200, JSON.stringify({ FailedEntryCount: codes.filter((code) => code !== null).length, Entries: merged }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return Object.assign(bus, { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}
