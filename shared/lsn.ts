/**
 * Positions in a pool's feed. An LSN is a positive integer below 2^53, one more for each committed batch; 0 is before the first.
 * Nowhere else is a position compared or parsed.
 */
export type Lsn = number & { readonly unit: 'lsn' };

export const LSN_ZERO = 0 as Lsn;

/**
 * @param value a number, or the text that node-postgres gives for a bigint
 * @throws RangeError where it is no whole number from 0 to 2^53 - 1
 */
export function parseLsn(value: string | number): Lsn {
  const lsn = typeof value === 'number' ? value : /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(lsn) || lsn < 0) throw new RangeError(`not an LSN: ${JSON.stringify(value)}`);
  return lsn as Lsn;
}

export const nextLsn = (lsn: Lsn): Lsn => parseLsn(lsn + 1);
export const laterLsn = (a: Lsn, b: Lsn): Lsn => (a > b ? a : b);
export const compareLsn = (a: Lsn, b: Lsn): number => a - b;
