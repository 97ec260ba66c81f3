/** A bit of colour, on a terminal alone. */
import { styleText } from 'node:util';
import type { Env } from '../../shared/settings-source.ts';
import type { Output } from './command.ts';

export type Style = Parameters<typeof styleText>[0];
export type Paint = (style: Style, text: string) => string;

/** Paints where it is seen: on a terminal that can, unless NO_COLOR is set (https://no-color.org). */
export function paintFor(output: Output, env: Env): Paint {
  const able = output.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  return able ? (style, text) => styleText(style, text) : (_, text) => text;
}

/** `12,345` */
export const grouped = (count: number): string => Math.round(count).toLocaleString('en-US');

/** `0.4 s`, `12 s`, `3 min`, `5.2 h`, `3.1 d` */
export function spoken(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 119.5) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${(seconds / 3_600).toFixed(1)} h`;
  return `${(seconds / 86_400).toFixed(1)} d`;
}
