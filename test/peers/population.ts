/** The users that a peer's pool is filled with, and what becomes of some of them. */
import {
  AdminCreateUserCommand,
  AdminDeleteUserCommand,
  AdminDisableUserCommand,
  AdminEnableUserCommand,
  AdminUpdateUserAttributesCommand,
  type AttributeType,
} from '@aws-sdk/client-cognito-identity-provider';
import type { Peer } from './peer.ts';

/** Requests under way at once; both peers are slow one at a time and fall over by the hundred. */
const PARALLEL = 16;

const ALPHABETS = ['ascii', 'żółw', 'Ελλη', 'привет', '日本語', 'עברית', '🦊🐢', 'e\u0301', "o'hara\\n", 'Google_'];

/** The nth user's name: of many alphabets, each once. */
export function usernameOf(n: number): string {
  return `${ALPHABETS[n % ALPHABETS.length]}-${n}`;
}

/** Every seventh has no e-mail, every third a custom attribute, some with what a COPY would stumble over. */
export function attributesOf(n: number): AttributeType[] {
  const attributes: AttributeType[] = [{ Name: 'name', Value: `${ALPHABETS[(n + 3) % ALPHABETS.length]} ${n}` }];
  if (n % 7 !== 0) attributes.push({ Name: 'email', Value: `user${n}@example.com` });
  if (n % 3 === 0) attributes.push({ Name: 'custom:plan', Value: n % 2 === 0 ? 'free' : 'paid' });
  if (n % 11 === 0) attributes.push({ Name: 'custom:note', Value: `tab\t"quote"\nline\\. \\N {"a":[${n}]}` });
  return attributes;
}

/** Makes users number `from` to `to` (excluded), and disables every thirteenth. */
export async function createUsers(peer: Peer, from: number, to: number): Promise<void> {
  await eachOf(from, to, async (n) => {
    const user = { UserPoolId: peer.poolId, Username: usernameOf(n) };
    await peer.client.send(
      new AdminCreateUserCommand({ ...user, UserAttributes: attributesOf(n), MessageAction: 'SUPPRESS' }),
    );
    if (n % 13 === 0) await peer.client.send(new AdminDisableUserCommand(user));
  });
}

/** Something of each kind: updates, disables, enables, deletes, creations. Of the first `count` users, 60 change. */
export async function churn(peer: Peer, count: number): Promise<void> {
  await eachOf(0, 60, async (k) => {
    const n = Math.floor((k * count) / 60);
    const user = { UserPoolId: peer.poolId, Username: usernameOf(n) };
    const { client } = peer;
    if (k % 4 === 0) {
      const UserAttributes = [
        { Name: 'email', Value: `moved${n}@example.org` },
        { Name: 'custom:plan', Value: 'changed' },
      ];
      await client.send(new AdminUpdateUserAttributesCommand({ ...user, UserAttributes }));
    } else if (k % 4 === 1) {
      const Command = n % 13 === 0 ? AdminEnableUserCommand : AdminDisableUserCommand;
      await client.send(new Command(user));
    } else {
      await client.send(new AdminDeleteUserCommand(user));
      // Half of the names are used again: another user, by sub.
      if (k % 4 === 3) await createUsers(peer, n, n + 1);
    }
  });
  await createUsers(peer, count, count + 25);
}

/** Runs `work` for each number, a few at a time. */
async function eachOf(from: number, to: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = from;
  const worker = async () => {
    while (next < to) await work(next++);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}
