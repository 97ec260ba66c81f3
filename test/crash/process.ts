/**
 * The real command line, as a process that dies at a named point, or is stopped there: CRASH_AT says where, CRASH_HIT at which time it comes there (the
 * first), CRASH_BY by which signal (SIGKILL).
 */
import { writeSync } from 'node:fs';
import { type Ears, listen } from './doors.ts';
import { POINTS } from './points.ts';

const { CRASH_AT = '', CRASH_HIT = '1', CRASH_BY = 'SIGKILL' } = process.env;
let hits = 0;

function die(): void {
  hits++;
  if (hits !== Number(CRASH_HIT)) return;
  writeSync(2, `crashed: ${CRASH_AT}\n`);
  process.kill(process.pid, CRASH_BY);
}

const points: Readonly<Record<string, (die: () => void) => Ears>> = POINTS;
const point = points[CRASH_AT];
if (point === undefined) throw new RangeError(`no such crash point: ${CRASH_AT}`);
listen(point(die));
await import('../../services/cli/main.ts');
