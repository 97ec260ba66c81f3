/**
 * Users noted in little memory: 28 bytes each, and the username where it is not the sub. They lie in the snapshot's groups (shared/snapshot.ts), so
 * that pool, snapshot and mirror can be compared a sixty-fourth at a time. Pure.
 */
import { FINGERPRINT_BYTES, type Fingerprint } from '../../../shared/fingerprint.ts';
import { bucketGroup, decodeSub, encodeSub, GROUPS } from '../../../shared/snapshot.ts';

export interface Noted {
  readonly sub: string;
  readonly username: string;
  readonly fingerprint: Fingerprint;
}

const CHUNK_BYTES = 32 * 1024;

interface Group {
  /** Full ones; no user straddles two. */
  readonly chunks: Buffer[];
  chunk: Buffer;
  used: number;
}

const EMPTY = Buffer.alloc(0);

export class Pile {
  readonly #groups: Group[] = Array.from({ length: GROUPS }, () => ({ chunks: [], chunk: EMPTY, used: 0 }));
  #size = 0;

  /** Users added; one that was added twice counts twice. */
  get size(): number {
    return this.#size;
  }

  add({ sub, username, fingerprint }: Noted): void {
    const field = encodeSub(sub);
    const name = username === sub ? EMPTY : Buffer.from(username);
    const bytes = 4 + field.length + name.length + FINGERPRINT_BYTES;
    const group = this.#groups[bucketGroup(field)] as Group;
    if (group.used + bytes > group.chunk.length) {
      group.chunks.push(group.chunk.subarray(0, group.used));
      group.chunk = Buffer.allocUnsafe(Math.max(CHUNK_BYTES, bytes));
      group.used = 0;
    }
    const { chunk } = group;
    let at = group.used;
    at = chunk.writeUInt16BE(field.length, at);
    at = chunk.writeUInt16BE(name.length, at);
    at += field.copy(chunk, at);
    at += name.copy(chunk, at);
    at += chunk.write(fingerprint, at, 'hex');
    group.used = at;
    this.#size++;
  }

  *group(number: number): Generator<Noted> {
    const group = this.#groups[number];
    if (group === undefined) return;
    for (const chunk of [...group.chunks, group.chunk.subarray(0, group.used)]) {
      for (let at = 0; at < chunk.length; ) {
        const fieldEnd = at + 4 + chunk.readUInt16BE(at);
        const nameEnd = fieldEnd + chunk.readUInt16BE(at + 2);
        const sub = decodeSub(chunk.subarray(at + 4, fieldEnd));
        const end = nameEnd + FINGERPRINT_BYTES;
        yield {
          sub,
          username: nameEnd === fieldEnd ? sub : chunk.toString('utf8', fieldEnd, nameEnd),
          fingerprint: chunk.toString('hex', nameEnd, end) as Fingerprint,
        };
        at = end;
      }
    }
  }
}
