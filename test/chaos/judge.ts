/**
 * What must be true when a chaos run has ended. Pure; each check gives its findings, and none is good.
 *
 * "Order" is this: the states that the mirror gave a sub, one after the other in the audit's sequence, are a part of the states that the pool gave
 * it, in the pool's order; each came into the mirror after the pool had it; and after a delete there is none. It is asked within the history that the
 * database has at the end: a restored backup takes mirror, change log and audit back together. Equal states of a user at different times (disabled,
 * enabled, disabled) are told apart by taking the earliest that fits.
 */
import type { AuditLine, LoggedChange, RowChange } from './audit.ts';
import type { PoolHistory } from './history.ts';
import type { State } from './state.ts';

export interface Finding {
  readonly check: string;
  /** The user or the position that shows it. */
  readonly evidence: string;
}

/** Clocks of one machine, read by three processes: so many milliseconds apart at most. */
const CLOCK_MS = 5;

const finding = (check: string, evidence: string): Finding => ({ check, evidence });
const isRowChange = (line: AuditLine): line is RowChange => line.op !== 'KEEPALIVE';

/** Row by row. */
export function mirrorEqualsPool(mirror: readonly State[], pool: readonly State[]): Finding[] {
  const check = 'the mirror equals the pool';
  const held = new Map(mirror.map((state) => [state.username, state]));
  const findings: Finding[] = [];
  for (const wanted of pool) {
    const found = held.get(wanted.username);
    held.delete(wanted.username);
    if (found === undefined) findings.push(finding(check, `missing: ${wanted.text}`));
    else if (found.text !== wanted.text)
      findings.push(finding(check, `different: ${found.text} is not ${wanted.text}`));
  }
  for (const ghost of held.values()) findings.push(finding(check, `ghost: ${ghost.text}`));
  return findings;
}

/** Each row change begins where the last one of that username ended, and changes something. */
export function onceEach(audit: readonly AuditLine[]): Finding[] {
  const check = 'no change twice';
  const rows = new Map<string, string | null>();
  const findings: Finding[] = [];
  for (const { id, op, old, new: now } of audit.filter(isRowChange)) {
    const username = (now ?? old)?.username ?? '';
    const before = rows.get(username) ?? null;
    if ((old?.text ?? null) !== before)
      findings.push(finding(check, `audit ${id}: ${op} of ${username} found ${old?.text} where ${before} stood`));
    if (old?.text === now?.text) findings.push(finding(check, `audit ${id}: ${op} of ${username} changed nothing`));
    rows.set(username, now?.text ?? null);
  }
  return findings;
}

/** Every state of a user is the pool's, in the pool's order and not before its time; nobody was deleted who was there. */
export function inOrder(audit: readonly AuditLine[], pool: PoolHistory): Finding[] {
  const places = new Map<string, number>();
  const findings: Finding[] = [];
  for (const { id, at, op, old, new: now } of audit.filter(isRowChange)) {
    const [oldSub, newSub] = [old?.sub ?? null, now?.sub ?? null];
    if (oldSub !== null && oldSub !== newSub) {
      const states = pool.users.get(oldSub)?.states ?? [];
      const gone = states.at(-1);
      places.set(oldSub, states.length);
      if (gone === undefined || gone.state !== null || gone.at > at + CLOCK_MS)
        findings.push(finding('no false delete', `audit ${id}: ${op} of ${old?.username} (${oldSub}), who was there`));
    }
    if (now === null || newSub === null) continue;
    const states = pool.users.get(newSub)?.states ?? [];
    const from = places.get(newSub) ?? -1;
    const place = states.findIndex(({ state }, i) => i > from && state === now.text);
    if (place >= 0 && (states[place]?.at ?? 0) <= at + CLOCK_MS) {
      places.set(newSub, place);
      continue;
    }
    const had = states.some(({ state }) => state === now.text);
    const check = had ? 'none out of order' : 'none that the pool did not have';
    findings.push(finding(check, `audit ${id}: ${op} of ${now.username} (${newSub}) after state ${from}: ${now.text}`));
  }
  return findings;
}

/** The change log tells for each username what the triggers saw. */
export function logAgrees(log: readonly LoggedChange[], audit: readonly AuditLine[]): Finding[] {
  const check = 'the change log agrees with the audit';
  const spell = (op: string, old: State | null, now: State | null) =>
    `${op === 'read' ? 'insert' : op.toLowerCase()} ${old?.text ?? '-'} ${now?.text ?? '-'}`;
  const seen = new Map<string, string[]>();
  for (const { op, old, new: now } of audit.filter(isRowChange)) {
    const username = (now ?? old)?.username ?? '';
    seen.set(username, [...(seen.get(username) ?? []), spell(op, old, now)]);
  }
  const findings: Finding[] = [];
  for (const { lsn, seq, op, username, sub, old, new: now } of log) {
    const wanted = seen.get(username)?.shift();
    if (wanted !== spell(op, old, now))
      findings.push(finding(check, `${lsn}/${seq} ${spell(op, old, now)} where the triggers saw ${wanted}`));
    if ((now ?? old)?.sub !== sub) findings.push(finding(check, `${lsn}/${seq} names another sub than its row`));
  }
  for (const [username, rest] of seen)
    if (rest.length > 0) findings.push(finding(check, `not logged: ${username}: ${rest[0]}`));
  return findings;
}

/**
 * What `as_of` says is true: whatever the pool was when that scan began, the mirror holds that or what came later. Asked of scans during which the
 * lists told the truth; of others nobody can say so.
 */
export function keptAliveHonestly(audit: readonly AuditLine[], pool: PoolHistory): Finding[] {
  /** By sub; null: it is gone. */
  const mirrored = new Map<string, string | null>();
  const findings: Finding[] = [];
  for (const line of audit) {
    if (isRowChange(line)) {
      const { old, new: now } = line;
      if (old !== null && old.sub !== now?.sub) mirrored.set(old.sub, null);
      if (now !== null) mirrored.set(now.sub, now.text);
      continue;
    }
    const { id, asOf, at } = line;
    if (!pool.truthful.some(({ from, to }) => from < asOf - CLOCK_MS && at < to)) continue;
    for (const [sub, { username, states }] of pool.users) {
      const owed = states.findLastIndex((state) => state.at < asOf - CLOCK_MS);
      if (owed < 0) continue;
      const holds = mirrored.get(sub);
      // Who came and went between two looks was never seen.
      if (holds === undefined && states.some(({ at: gone, state }, i) => i >= owed && state === null && gone <= at))
        continue;
      if (holds !== undefined && states.some(({ state }, i) => i >= owed && state === holds)) continue;
      const what = `${username} (${sub}) was ${states[owed]?.state ?? 'gone'}, mirrored: ${holds ?? 'no'}`;
      findings.push(finding('as_of tells the truth', `audit ${id}, as of ${new Date(asOf).toISOString()}: ${what}`));
    }
  }
  return findings;
}
