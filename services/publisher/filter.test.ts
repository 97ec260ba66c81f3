import { describe, expect, test } from 'vitest';
import { type Filter, passes } from './filter.ts';

const ALL: Filter = { ops: null, columns: null, attributes: null };
const update = (...changed: string[]) => ({ op: 'update' as const, changed });

describe('filters', () => {
  test('let everything pass but reads', () => {
    for (const op of ['insert', 'update', 'delete'] as const) expect(passes({ op, changed: [] }, ALL)).toBe(true);
    expect(passes({ op: 'read', changed: [] }, ALL)).toBe(false);
  });

  test('by op', () => {
    const filter: Filter = { ...ALL, ops: ['insert', 'delete'] };
    expect(passes({ op: 'insert', changed: [] }, filter)).toBe(true);
    expect(passes(update('email'), filter)).toBe(false);
  });

  test('by column or attribute: one of them is enough, and only updates are asked', () => {
    const filter: Filter = { ...ALL, columns: ['status'], attributes: ['custom:plan'] };
    expect(passes(update('status', 'updated_at'), filter)).toBe(true);
    expect(passes(update('updated_at', 'attributes.custom:plan'), filter)).toBe(true);
    expect(passes(update('updated_at', 'attributes.name'), filter)).toBe(false);
    expect(passes({ op: 'insert', changed: [] }, filter)).toBe(true);
    expect(passes({ op: 'delete', changed: [] }, filter)).toBe(true);
  });

  test('the column `attributes` is any attribute; the column `email` is not the attribute of that name', () => {
    expect(passes(update('attributes.name'), { ...ALL, columns: ['attributes'] })).toBe(true);
    expect(passes(update('email'), { ...ALL, columns: ['attributes'] })).toBe(false);
    expect(passes(update('attributes.email'), { ...ALL, columns: ['email'] })).toBe(false);
    expect(passes(update('attributes.email'), { ...ALL, attributes: ['email'] })).toBe(true);
  });
});
