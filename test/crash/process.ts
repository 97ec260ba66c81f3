/**
 * The real command line, as a process that dies by SIGKILL at a named point: CRASH_AT says where, CRASH_HIT at which time it comes there (the first).
 */
import { writeSync } from 'node:fs';
import { type Ears, listen } from './doors.ts';
import { POINTS } from './points.ts';

const { CRASH_AT = '', CRASH_HIT = '1' } = process.env;
let hits = 0;

function die(): void {
  hits++;
  if (hits !== Number(CRASH_HIT)) return;
  writeSync(2, `crashed: ${CRASH_AT}\n`);
  process.kill(process.pid, 'SIGKILL');
}

const points: Readonly<Record<string, (die: () => void) => Ears>> = POINTS;
const point = points[CRASH_AT];
if (point === undefined) throw new RangeError(`no such crash point: ${CRASH_AT}`);
listen(point(die));
await import('../../services/cli/main.ts');
