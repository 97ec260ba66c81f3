import { AdminGetUserCommand, ListUsersCommand } from '@aws-sdk/client-cognito-identity-provider';
import { expect, it, vi } from 'vitest';
import { RequestRecord } from './request-record.ts';
import { sdkSession } from './sdk-session.ts';

it('keeps what was asked for, when, and how it was answered', async () => {
  const { emulator, pool, client, pages } = await sdkSession();
  pool.fill(100);
  const began = Date.now();
  await pages({ Filter: 'sub ^= ""' });
  await expect(client.send(new AdminGetUserCommand({ UserPoolId: pool.id, Username: 'nobody' }))).rejects.toThrow();
  const { record } = emulator;
  expect(record.requests).toEqual({ ListUsers: 2, AdminGetUser: 1 });
  expect(record.answers).toEqual({ ok: 2, UserNotFoundException: 1 });
  expect(record.lookups).toEqual(['nobody']);
  const request = { pool: pool.id, filter: 'sub ^= ""', limit: 60 };
  expect(record.lists).toMatchObject([
    { ...request, continued: false },
    { ...request, continued: true },
  ]);
  for (const { at } of record.lists) expect(Math.abs(at - began)).toBeLessThan(10_000);
  record.clear();
  expect([record.requests, record.lists, record.lookups]).toEqual([{}, [], []]);
});

it('keeps how many requests were under way at once', async () => {
  const { emulator, pool, client } = await sdkSession();
  emulator.faults.set({ latency: { ms: 30, jitterMs: 0 } });
  const list = () => client.send(new ListUsersCommand({ UserPoolId: pool.id }));
  await Promise.all([list(), list(), list(), list()]);
  expect(emulator.record.maxConcurrency).toBe(4);
  await vi.waitFor(() => expect(emulator.record.underWay).toBe(0));
});

it('finds the busiest second', () => {
  vi.useFakeTimers();
  const record = new RequestRecord();
  const request = { pool: 'p', filter: undefined, limit: 60, continued: false };
  for (const at of [0, 100, 900, 1000, 1050, 2500]) {
    vi.setSystemTime(at);
    vi.spyOn(performance, 'now').mockReturnValue(at);
    record.listed(request);
  }
  vi.restoreAllMocks();
  vi.useRealTimers();
  expect(record.peakLists()).toBe(4);
  expect(record.peakLists(101)).toBe(2);
  expect(record.peakLists(10_000)).toBe(6);
});

it('keeps the newest, in order', () => {
  const record = new RequestRecord();
  for (let i = 0; i < 65_540; i++) record.lookedUp(String(i));
  expect(record.lookups).toHaveLength(65_536);
  expect([record.lookups[0], record.lookups.at(-1)]).toEqual(['4', '65539']);
});
