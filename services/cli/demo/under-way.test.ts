import { describe, expect, it } from 'vitest';
import type { ChurnKind, ChurnStep } from '../../../test/emulator/churn.ts';
import { type LoggedChange, quantile, UnderWay } from './under-way.ts';

const DATE = '2026-01-02T03:04:05.678';

/** @param email null: the user is gone after it */
function step(sub: string, email: string | null, kind: ChurnKind = 'update'): ChurnStep {
  const date = new Date(`${DATE}Z`);
  const after = {
    Username: `name of ${sub}`,
    Attributes: [{ Name: 'sub', Value: sub }, ...(email === null ? [] : [{ Name: 'email', Value: email }])],
    UserCreateDate: date,
    UserLastModifiedDate: date,
    Enabled: true,
    UserStatus: 'CONFIRMED',
  };
  return { kind, username: after.Username, sub, before: undefined, after: email === null ? undefined : after };
}

function change(sub: string, email: string | null, committedAt: number): LoggedChange {
  const row = {
    username: `name of ${sub}`,
    email,
    status: 'CONFIRMED',
    enabled: true,
    created_at: DATE,
    updated_at: DATE,
    attributes: [{ email }, { sub }],
  };
  const op = email === null ? 'delete' : 'update';
  return { lsn: 1, op, sub, changed: [], new: email === null ? null : row, committedAt };
}

describe('changes under way', () => {
  it('times a change from the pool to the commit, by one clock', () => {
    const underWay = new UnderWay();
    const made = step('a', 'one');
    underWay.made(made, 1_000);
    expect(underWay.size).toBe(1);
    expect(underWay.arrived(change('a', 'one', 1_750), 50)).toMatchObject({ step: made, latencyMs: 700 });
    expect(underWay).toMatchObject({ size: 0, unseen: 0 });
  });

  it('counts what was overtaken by a later change of the same user as unseen', () => {
    const underWay = new UnderWay();
    for (const [i, email] of ['one', 'two', 'three'].entries()) underWay.made(step('a', email), i * 100);
    expect(underWay.arrived(change('a', 'two', 500), 0)).toMatchObject({ latencyMs: 400 });
    expect(underWay).toMatchObject({ size: 1, unseen: 1 });
    expect(underWay.arrived(change('a', 'three', 900), 0)).toMatchObject({ latencyMs: 700 });
    expect(underWay).toMatchObject({ size: 0, unseen: 1 });
  });

  it('takes a state that comes again for the latest that can be meant', () => {
    const underWay = new UnderWay();
    underWay.made(step('a', 'on'), 0);
    underWay.made(step('a', 'off'), 100);
    underWay.made(step('a', 'on'), 1_000);
    expect(underWay.arrived(change('a', 'on', 600), 0)?.latencyMs).toBe(600);
    expect(underWay.size).toBe(2);
  });

  it('lets a delete end what the user still had under way', () => {
    const underWay = new UnderWay();
    underWay.made(step('a', 'one'), 0);
    underWay.made(step('a', null, 'delete'), 100);
    underWay.made(step('b', 'other'), 100);
    expect(underWay.arrived(change('a', null, 300), 0)).toMatchObject({ step: { kind: 'delete' }, latencyMs: 200 });
    expect(underWay).toMatchObject({ size: 1, unseen: 1 });
  });

  it('knows that an applied scan leaves nothing behind that was made before it', () => {
    const underWay = new UnderWay();
    underWay.made(step('a', 'one'), 0);
    underWay.made(step('b', 'one'), 50);
    underWay.made(step('a', 'two'), 100);
    underWay.applied(100);
    expect(underWay).toMatchObject({ size: 1, unseen: 2 });
  });

  it("leaves other people's changes alone", () => {
    const underWay = new UnderWay();
    underWay.made(step('a', 'one'), 0);
    expect(underWay.arrived(change('c', 'one', 10), 0)).toBeNull();
    expect(underWay.arrived(change('a', 'never made', 10), 0)).toBeNull();
    expect(underWay).toMatchObject({ size: 1, unseen: 0 });
  });
});

it('a quantile of a few values is one of them', () => {
  expect(quantile([3, 1, 2], 0.5)).toBe(2);
  expect(quantile([3, 1, 2], 0.95)).toBe(3);
  expect(quantile([], 0.5)).toBe(0);
});
