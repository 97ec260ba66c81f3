/** `POST /refresh`, through the command and its own HTTP server. */
import { expect, onTestFinished, test } from 'vitest';
import type { Command } from '../services/cli/command.ts';
import { poller } from '../services/cli/commands/poller.ts';
import { run } from '../services/cli/commands/run.ts';
import { readHints } from '../shared/hint-record.ts';
import { loadSettings } from '../shared/settings.ts';
import { Shutdown } from '../shared/shutdown.ts';
import { type Feed, redisOfFile, startFeed } from './feed.ts';
import { freePort } from './servers/free-port.ts';
import { until } from './until.ts';

const redis = redisOfFile();
const TOKEN = 'a-token-of-some-length';

async function serving(feed: Feed, command: Command, env: Record<string, string>): Promise<string> {
  const port = await freePort();
  const settings = loadSettings({ ...feed.env, HTTP_PORT: String(port), ...env });
  const shutdown = new Shutdown({ on: () => undefined, exit: () => undefined });
  const output = { write: () => true };
  const ended = command({
    settings,
    options: {},
    args: [],
    log: feed.log,
    signal: shutdown.signal,
    shutdown,
    stdout: output,
    stderr: output,
    env: {},
  });
  onTestFinished(async () => {
    shutdown.begin('the test has finished');
    await ended;
    shutdown.finish();
  });
  const url = `http://127.0.0.1:${port}`;
  await until('readiness', () =>
    fetch(`${url}/readyz`)
      .then(({ status }) => status === 200)
      .catch(() => false),
  );
  return url;
}

const post = (url: string, body: string, authorization: string | null = `Bearer ${TOKEN}`) =>
  fetch(`${url}/refresh`, { method: 'POST', body, headers: authorization === null ? {} : { authorization } });

test('202 with a count, and the rows follow; 400, 401, 413 otherwise', async () => {
  const feed = await startFeed({ redis });
  feed.pool.fill(50);
  await feed.sync();
  const url = await serving(feed, run, { REFRESH_TOKEN: TOKEN });

  feed.pool.create({ username: 'new' });
  feed.pool.update('user3', { email: 'moved@example.com' });
  const sub = feed.pool.get('user3')?.Attributes?.find(({ Name }) => Name === 'sub')?.Value ?? '';
  const answer = await post(url, JSON.stringify({ usernames: ['new'], subs: [sub] }));
  expect({ status: answer.status, body: await answer.json() }).toEqual({ status: 202, body: { accepted: 2 } });
  await until('both rows', async () => {
    const rows = await feed.query(`select from cognito.users where username = 'new' or email = 'moved@example.com'`);
    return rows.length === 2;
  });
  await feed.expectMirrorEqualsPool();

  feed.pool.create({ username: 'triggered' });
  const triggerEvent = {
    triggerSource: 'PostConfirmation_ConfirmSignUp',
    userPoolId: feed.pool.id,
    userName: 'triggered',
    request: { userAttributes: {} },
  };
  expect((await post(url, JSON.stringify(triggerEvent))).status).toBe(202);
  await until(
    'its row',
    async () => (await feed.query(`select from cognito.users where username = 'triggered'`)).length,
  );
  const others = await post(url, JSON.stringify({ ...triggerEvent, userPoolId: 'eu-west-1_OTHER' }));
  expect(await others.json()).toEqual({ accepted: 0 });

  for (const wrong of [null, 'Bearer', `Bearer ${TOKEN}x`, `Basic ${TOKEN}`, TOKEN])
    expect((await post(url, '{"usernames":["new"]}', wrong)).status, String(wrong)).toBe(401);
  for (const bad of ['', '{', '{}', '[]', '{"usernames":[1]}']) expect((await post(url, bad)).status, bad).toBe(400);
  expect((await post(url, `{"usernames":["${'x'.repeat(300_000)}"]}`)).status).toBe(413);
  expect((await fetch(`${url}/refresh`)).status).toBe(405);

  // A hint is counted when its batch is queued, and the writer may be quicker than that.
  const counted = async () => (await readHints(feed.redis, await feed.tag())).sources;
  await until('all three to be counted', async () => (await counted()).http.changed === 3);
  const sources = await counted();
  expect(sources.http).toMatchObject({ received: 3, changed: 3, ignored: 1, unreadable: 5 });
  expect(feed.logged.join('')).not.toContain(TOKEN);
  expect(feed.logged.join('')).not.toContain('moved@example.com');
});

test('there is no such path without REFRESH_TOKEN; the poller alone has it', async () => {
  const feed = await startFeed({ redis });
  feed.runWriter();
  const off = await serving(feed, poller, {});
  expect((await post(off, '{"usernames":["a"]}')).status).toBe(404);
  const on = await serving(feed, poller, { REFRESH_TOKEN: TOKEN });
  expect((await post(on, '{"usernames":["a"]}')).status).toBe(202);
});
