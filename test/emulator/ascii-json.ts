/**
 * JSON with all but ASCII escaped: V8 keeps it in one byte a character, and it goes to the socket without being encoded. U+0000 and
 * lone surrogates, which UTF-8 can't carry, travel in no other way.
 */

/** The same value always has the same spelling: `filter.ts` relies on it. */
export function asciiJson(value: unknown): string {
  const json = JSON.stringify(value);
  return BEYOND_ASCII.test(json) ? json.replace(ALL_BEYOND_ASCII, escaped) : json;
}

// Without the flag u: UTF-16 units, as JSON escapes them.
const BEYOND_ASCII = /[\u0080-\uffff]/;
const ALL_BEYOND_ASCII = /[\u0080-\uffff]/g;
const escaped = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
