/**
 * Randomness that can be repeated: everything the emulator leaves to chance comes from a seed. No cryptography.
 */

/** sfc32: 128 bits of state, so streams of different seeds do not run into each other. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d = 1;

  /** @param seed the same seed gives the same sequence; a label in it (`"7/pages"`) gives a stream of its own */
  constructor(seed: number | string) {
    const text = String(seed);
    this.#a = hash(text, 0x9e3779b9);
    this.#b = hash(text, 0x243f6a88);
    this.#c = hash(text, 0xb7e15162);
    for (let i = 0; i < 15; i++) this.uint32();
  }

  uint32(): number {
    const t = (this.#a + this.#b + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t;
    return t >>> 0;
  }

  /** From 0 up to, but without, 2^53. */
  uint53(): number {
    return (this.uint32() >>> 11) * 2 ** 32 + this.uint32();
  }

  /** From 0 up to, but without, 1. */
  next(): number {
    return this.uint32() / 2 ** 32;
  }

  /** A whole number from 0 up to, but without, `below`. */
  int(below: number): number {
    return Math.floor(this.next() * below);
  }

  chance(probability: number): boolean {
    return probability >= 1 || (probability > 0 && this.next() < probability);
  }

  /** @throws RangeError for an empty list */
  pick<T>(list: readonly T[]): T {
    const found = list[this.int(list.length)];
    if (found === undefined) throw new RangeError('nothing to pick from');
    return found;
  }

  /** A new array in random order (Fisher-Yates). */
  shuffled<T>(list: readonly T[]): T[] {
    const out = [...list];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const swapped = out[i] as T;
      out[i] = out[j] as T;
      out[j] = swapped;
    }
    return out;
  }
}

/**
 * Where in [0, 1) a name falls, always the same for the same seed: a share of the users is then the same share at each look.
 */
export function portion(seed: number | string, name: string): number {
  return hash(`${seed}/${name}`, 0x9e3779b9) / 2 ** 32;
}

/** 64 bits in hex; no cryptography. */
export function checksum(text: string): string {
  return hash(text, 0x243f6a88).toString(16).padStart(8, '0') + hash(text, 0xb7e15162).toString(16).padStart(8, '0');
}

/** FNV-1a over UTF-16 units, then murmur3's finaliser: FNV alone spreads its high bits badly. */
function hash(text: string, basis: number): number {
  let h = basis | 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
