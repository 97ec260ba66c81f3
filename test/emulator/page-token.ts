/**
 * Pagination tokens: opaque, bound to the very parameters of the list they go on with, good for an hour unless faults say otherwise.
 * They hold their own state, sealed: a server that keeps none can be asked by any number of abandoned chains.
 */
import { checksum } from './random.ts';

export interface ChainPosition {
  /** The place of the last user that the chain has passed. */
  readonly place: number;
  /** Pages that the chain has given so far. */
  readonly pages: number;
  /** Milliseconds since the epoch. */
  readonly issuedAt: number;
}

export class PageTokens {
  readonly #key: string;

  constructor(seed: number | string) {
    this.#key = `cognito-feed emulator ${seed}`;
  }

  /** @param parameters everything of the request but its token, in one fixed spelling */
  seal({ place, pages, issuedAt }: ChainPosition, parameters: string): string {
    const position = `${place}.${pages}.${issuedAt}`;
    return Buffer.from(`${position}.${this.#mac(position, parameters)}`, 'latin1').toString('base64url');
  }

  /** @returns undefined where the token is not one of ours or was given for other parameters */
  open(token: string, parameters: string): ChainPosition | undefined {
    const bytes = Buffer.from(token, 'base64url');
    if (bytes.toString('base64url') !== token) return undefined; // the decoder skips what it does not know
    const text = bytes.toString('latin1');
    const cut = text.lastIndexOf('.');
    const position = text.slice(0, Math.max(0, cut));
    if (text.slice(cut + 1) !== this.#mac(position, parameters)) return undefined;
    const [place, pages, issuedAt] = position.split('.').map(Number);
    if (place === undefined || pages === undefined || issuedAt === undefined) return undefined;
    return { place, pages, issuedAt };
  }

  #mac(position: string, parameters: string): string {
    // Nobody forges tokens here: what counts is to notice other parameters. A real HMAC would be a tenth of a page's cost.
    return checksum(`${this.#key}\n${position}\n${parameters}`);
  }
}
