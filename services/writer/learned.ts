/**
 * What the snapshot learns from a committed batch. It is kept in the slot (`last_batch`) until the next commit, so that whoever finds the
 * snapshot one commit behind can play it in.
 */
import {
  decodeEntry,
  decodeSub,
  type Entry,
  encodeEntry,
  encodeStale,
  encodeSub,
  type StaleRead,
} from '../../shared/snapshot.ts';

export type Learned =
  /** The mirror holds this user so. */
  | { readonly op: 'put'; readonly sub: string; readonly entry: Entry }
  /** The user is gone for good; its sub never comes back. Milliseconds. */
  | { readonly op: 'delete'; readonly sub: string; readonly deletedAt: number }
  /** The mirror no longer holds anybody under this sub, which says nothing about the pool. */
  | { readonly op: 'forget'; readonly sub: string }
  /** A read older than the mirror's row: to be seen again. */
  | { readonly op: 'stale'; readonly sub: string; readonly stale: StaleRead };

/** One letter, field, value. */
type LearnedArguments = readonly [op: string, field: Buffer, value: Buffer];

const EMPTY = Buffer.alloc(0);

function toArguments(learned: Learned): LearnedArguments {
  const field = encodeSub(learned.sub);
  switch (learned.op) {
    case 'put':
      return ['p', field, encodeEntry(learned.sub, learned.entry)];
    case 'delete':
      return ['d', field, Buffer.from(String(learned.deletedAt))];
    case 'forget':
      return ['f', field, EMPTY];
    case 'stale':
      return ['s', field, encodeStale(learned.stale)];
  }
}

function fromArguments([op, field, value]: LearnedArguments): Learned {
  const sub = decodeSub(field);
  switch (op) {
    case 'p':
      return { op: 'put', sub, entry: decodeEntry(sub, value) };
    case 'd':
      return { op: 'delete', sub, deletedAt: Number(value.toString()) };
    case 'f':
      return { op: 'forget', sub };
    case 's': {
      const { fingerprint, observedAt } = decodeEntry(sub, value);
      return { op: 'stale', sub, stale: { fingerprint, firstObservedAt: observedAt } };
    }
    default:
      throw new TypeError(`last_batch: unknown operation ${JSON.stringify(op)}`);
  }
}

/** Each as one byte for the operation, the lengths of field and value (two bytes each, big-endian), then both. The snapshot's scripts read it too. */
export function encodeLearned(learned: readonly Learned[]): Buffer {
  const parts: Buffer[] = [];
  for (const one of learned) {
    const [op, field, value] = toArguments(one);
    const head = Buffer.allocUnsafe(5);
    head.write(op, 0, 'latin1');
    head.writeUInt16BE(field.length, 1);
    head.writeUInt16BE(value.length, 3);
    parts.push(head, field, value);
  }
  return Buffer.concat(parts);
}

export function decodeLearned(bytes: Buffer): Learned[] {
  const learned: Learned[] = [];
  for (let at = 0; at < bytes.length; ) {
    const op = bytes.toString('latin1', at, at + 1);
    const fieldEnd = at + 5 + bytes.readUInt16BE(at + 1);
    const end = fieldEnd + bytes.readUInt16BE(at + 3);
    learned.push(fromArguments([op, bytes.subarray(at + 5, fieldEnd), bytes.subarray(fieldEnd, end)]));
    at = end;
  }
  return learned;
}
