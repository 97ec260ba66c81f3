import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { HalfOpenProxy } from './half-open-proxy.ts';

/** A server that echoes, and a proxy before it. */
async function echo() {
  const accepted: Socket[] = [];
  const heard: string[] = [];
  const server = createServer((socket) => {
    accepted.push(socket);
    socket.on('data', (chunk) => heard.push(chunk.toString()));
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await HalfOpenProxy.start({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  const clients: Socket[] = [];
  onTestFinished(async () => {
    for (const socket of [...clients, ...accepted]) socket.destroy();
    await proxy.stop();
    server.close();
  });
  const open = () => {
    const socket = connect(proxy.port, proxy.host);
    const state = { text: '', ended: false, error: undefined as string | undefined };
    socket.on('data', (chunk) => {
      state.text += chunk.toString();
    });
    socket.on('end', () => {
      state.ended = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      state.error = error.code;
    });
    clients.push(socket);
    return { socket, state };
  };
  return { proxy, accepted, heard, open };
}

it('passes bytes in both directions, and the end of a stream', async () => {
  const { open } = await echo();
  const { socket, state } = open();
  const long = 'x'.repeat(1_000_000);
  socket.end(long);
  await vi.waitFor(() => expect(state.ended).toBe(true));
  expect(state.text).toBe(long);
});

it('in a black hole connections stay open, old and new, and nothing is heard; then it comes through', async () => {
  const { proxy, accepted, heard, open } = await echo();
  const old = open();
  old.socket.write('1');
  await vi.waitFor(() => expect(old.state.text).toBe('1'));
  await proxy.blackHole();
  old.socket.write('2');
  accepted[0]?.write('?');
  const fresh = open();
  await once(fresh.socket, 'connect');
  fresh.socket.write('a');
  await vi.waitFor(() => expect(proxy.connections).toBe(2));
  // Through the kernel and back twice: what was to be forwarded would have been.
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  expect([old.state.text, fresh.state.text, heard.join('')]).toEqual(['1', '', '1']);
  expect(accepted).toHaveLength(1);
  await proxy.pass();
  await vi.waitFor(() => expect([old.state.text, fresh.state.text]).toEqual(['1?2', 'a']));
});

it('in a black hole the client does not learn that the server is gone, nor the server that the client is', async () => {
  const { proxy, accepted, open } = await echo();
  const [one, other] = [open(), open()];
  for (const { socket, state } of [one, other]) {
    socket.write('1');
    await vi.waitFor(() => expect(state.text).toBe('1'));
  }
  await proxy.blackHole();
  accepted[0]?.resetAndDestroy();
  other.socket.resetAndDestroy();
  const late = open();
  await once(late.socket, 'connect');
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  expect(one.state).toEqual({ text: '1', ended: false, error: undefined });
  expect(one.socket.destroyed).toBe(false);
  expect(accepted[1]?.destroyed).toBe(false);
  await proxy.pass();
  await vi.waitFor(() => expect(one.socket.destroyed && accepted[1]?.destroyed).toBe(true));
});

it('refuses new connections and keeps the old ones; the port is the same afterwards', async () => {
  const { proxy, open } = await echo();
  const old = open();
  await once(old.socket, 'connect');
  await vi.waitFor(() => expect(proxy.connections).toBe(1));
  const { port } = proxy;
  await proxy.refuse();
  const refused = open();
  await vi.waitFor(() => expect(refused.state.error).toBe('ECONNREFUSED'));
  old.socket.write('still');
  await vi.waitFor(() => expect(old.state.text).toBe('still'));
  await proxy.pass();
  expect(proxy.port).toBe(port);
  const fresh = open();
  fresh.socket.write('here');
  await vi.waitFor(() => expect(fresh.state.text).toBe('here'));
});

it('cuts all connections', async () => {
  const { proxy, accepted, open } = await echo();
  const { socket, state } = open();
  socket.write('1');
  await vi.waitFor(() => expect(state.text).toBe('1'));
  proxy.cutAll();
  await vi.waitFor(() => expect(state.error).toBe('ECONNRESET'));
  await vi.waitFor(() => expect(accepted[0]?.destroyed).toBe(true));
  expect(proxy.connections).toBe(0);
});

it('drops a client whose server refuses', async () => {
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as AddressInfo;
  closed.close();
  const proxy = await HalfOpenProxy.start({ host: '127.0.0.1', port });
  onTestFinished(() => proxy.stop());
  const socket = connect(proxy.port, proxy.host);
  socket.on('error', () => {});
  await once(socket, 'close');
});
