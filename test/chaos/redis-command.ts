/** One command to a Redis, without a client that would try again. */
import { connect } from 'node:net';

const WAIT_MS = 2_000;

/** Resolves with the reply, or when none comes. */
export function command(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const settle = (reply: string) => {
      socket.destroy();
      resolve(reply);
    };
    socket.setTimeout(WAIT_MS, () => settle(''));
    socket.once('error', () => settle(''));
    socket.once('close', () => settle(''));
    socket.once('data', (data) => settle(data.toString()));
    socket.write(`${text}\r\n`);
  });
}
