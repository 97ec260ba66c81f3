/**
 * New subs, in the two styles that pools give.
 */
import { Random } from './random.ts';

/**
 * `uuid4`: as older pools give them. `regional`: as newer pools do, such as `d488e438-b0d1-7011-bc2c-604a199fcdd5`: nibbles 2,
 * 4, 6 and 8 are constant in a Region and the variant nibble is free, so that strict UUID validators reject most of them.
 */
export type SubStyle = 'uuid4' | 'regional';

const HEX = Buffer.from('0123456789abcdef', 'latin1');

export class SubSource {
  readonly #random: Random;
  readonly #style: SubStyle;
  readonly #constant: readonly number[];
  readonly #text = Buffer.from('00000000-0000-0000-0000-000000000000', 'latin1');

  /** @param region names the Region: pools of one Region share their constant nibbles */
  constructor(style: SubStyle, region: string, seed: number | string) {
    this.#style = style;
    this.#random = new Random(`${seed}/subs`);
    const ofRegion = new Random(`${region}/nibbles`);
    this.#constant = [ofRegion.int(16), ofRegion.int(16), ofRegion.int(16), ofRegion.int(16)];
  }

  next(): string {
    const text = this.#text;
    let bits = 0;
    for (let i = 0, left = 0; i < 36; i++) {
      if (i === 8 || i === 13 || i === 18 || i === 23) continue;
      if (left === 0) {
        bits = this.#random.uint32();
        left = 8;
      }
      text[i] = HEX[bits & 15] as number;
      bits >>>= 4;
      left--;
    }
    if (this.#style === 'uuid4') {
      text[14] = 0x34; // version 4
      text[19] = HEX[8 + this.#random.int(4)] as number;
    } else {
      for (let i = 0; i < 4; i++) text[2 * i + 1] = HEX[this.#constant[i] as number] as number;
      text[12] = 0x31; // every id of this style seen in public ends its second group in 1 …
      text[14] = 0x37; // … and begins its third with 70
      text[15] = 0x30;
    }
    // A flat one-byte string: concatenation would keep a tree of pieces for each of a million users.
    return text.toString('latin1');
  }
}
