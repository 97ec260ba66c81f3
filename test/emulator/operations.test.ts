import {
  AdminConfirmSignUpCommand,
  AdminCreateUserCommand,
  AdminDeleteUserAttributesCommand,
  AdminDeleteUserCommand,
  AdminDisableUserCommand,
  AdminEnableUserCommand,
  AdminGetUserCommand,
  AdminSetUserPasswordCommand,
  AdminUpdateUserAttributesCommand,
  ConfirmSignUpCommand,
  DescribeUserPoolCommand,
  ListUserPoolsCommand,
  SignUpCommand,
} from '@aws-sdk/client-cognito-identity-provider';
import { describe, expect, it } from 'vitest';
import { hostileUsers } from './hostile-users.ts';
import { sdkSession } from './sdk-session.ts';

const Password = 'correct horse battery staple';

describe('AdminGetUser', () => {
  it('answers with UserAttributes what ListUsers calls Attributes', async () => {
    const { pool, client } = await sdkSession();
    pool.load(hostileUsers(60, 2, { unstorableUsernames: true }));
    for (const { Attributes, ...rest } of pool.users()) {
      const answer = await client.send(new AdminGetUserCommand({ UserPoolId: pool.id, Username: rest.Username }));
      expect(answer).toMatchObject({ ...rest, UserAttributes: Attributes });
    }
  });

  it('names who is gone, and an unknown pool', async () => {
    const { pool, client } = await sdkSession();
    const ask = (UserPoolId: string) => client.send(new AdminGetUserCommand({ UserPoolId, Username: 'nobody' }));
    await expect(ask(pool.id)).rejects.toMatchObject({
      name: 'UserNotFoundException',
      $metadata: { httpStatusCode: 400 },
    });
    await expect(ask('eu-west-1_x')).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
    await expect(
      client.send(new AdminGetUserCommand({ UserPoolId: pool.id, Username: 'x'.repeat(129) })),
    ).rejects.toMatchObject({ name: 'InvalidParameterException' });
  });

  it('accepts the sub of local users, and e-mails where they are aliases; federated users by username only', async () => {
    const { emulator, pool, client } = await sdkSession({ pools: [{ emailAlias: true }, { id: 'eu-west-1_plain' }] });
    const attributes = [
      ['sub', 'abc'],
      ['email', 'a@example.com'],
    ] as const;
    const usernameOf = async (UserPoolId: string, Username: string) =>
      (await client.send(new AdminGetUserCommand({ UserPoolId, Username }))).Username;
    pool.create({ username: 'a', attributes });
    emulator.pool('eu-west-1_plain').create({ username: 'a', attributes });
    expect(await usernameOf(pool.id, 'a@example.com')).toBe('a');
    expect(await usernameOf(pool.id, 'abc')).toBe('a');
    await expect(usernameOf('eu-west-1_plain', 'a@example.com')).rejects.toThrow('User does not exist.');
    pool.setStatus('a', 'EXTERNAL_PROVIDER');
    await expect(usernameOf(pool.id, 'abc')).rejects.toThrow('User does not exist.');
    expect(await usernameOf(pool.id, 'a')).toBe('a');
  });
});

describe('DescribeUserPool', () => {
  it('estimates, and lies when told to', async () => {
    const { emulator, pool, client } = await sdkSession();
    pool.fill(7);
    const estimate = async () =>
      (await client.send(new DescribeUserPoolCommand({ UserPoolId: pool.id }))).UserPool?.EstimatedNumberOfUsers;
    expect(await estimate()).toBe(7);
    emulator.faults.set({ estimatedUsers: 1_000_000 });
    expect(await estimate()).toBe(1_000_000);
  });
});

describe('operations that write', () => {
  it('AdminCreateUser, and a username that is taken', async () => {
    const { pool, client } = await sdkSession();
    const command = new AdminCreateUserCommand({
      UserPoolId: pool.id,
      Username: 'ada',
      UserAttributes: [{ Name: 'email', Value: 'ada@example.com' }],
    });
    const { User } = await client.send(command);
    expect(User).toEqual(pool.get('ada'));
    expect(User).toMatchObject({ UserStatus: 'FORCE_CHANGE_PASSWORD', Enabled: true });
    await expect(client.send(command)).rejects.toMatchObject({ name: 'UsernameExistsException' });
  });

  it('AdminUpdateUserAttributes and AdminDeleteUserAttributes move the date', async () => {
    let now = 1_700_000_000_000;
    const { pool, client } = await sdkSession({ now: () => now });
    pool.create({ username: 'ada', attributes: [['email', 'a@example.com']] });
    const about = { UserPoolId: pool.id, Username: 'ada' };
    now += 1001;
    const UserAttributes = [
      { Name: 'email', Value: 'b@example.com' },
      { Name: 'custom:x', Value: '' },
    ];
    await client.send(new AdminUpdateUserAttributesCommand({ ...about, UserAttributes }));
    expect(pool.get('ada')).toMatchObject({
      Attributes: [{ Name: 'sub' }, ...UserAttributes],
      UserCreateDate: new Date(1_700_000_000_000),
      UserLastModifiedDate: new Date(1_700_000_001_001),
    });
    now += 1;
    await client.send(new AdminDeleteUserAttributesCommand({ ...about, UserAttributeNames: ['email'] }));
    expect(pool.get('ada')).toMatchObject({
      Attributes: [{ Name: 'sub' }, { Name: 'custom:x', Value: '' }],
      UserLastModifiedDate: new Date(1_700_000_001_002),
    });
  });

  it('refuse to touch a sub, and values that are too long', async () => {
    const { pool, client } = await sdkSession();
    pool.create({ username: 'ada' });
    const about = { UserPoolId: pool.id, Username: 'ada' };
    const refused = { name: 'InvalidParameterException' };
    for (const attribute of [
      { Name: 'sub', Value: 'x' },
      { Name: 'name', Value: 'é'.repeat(1025) },
    ]) {
      const command = new AdminUpdateUserAttributesCommand({ ...about, UserAttributes: [attribute] });
      await expect(client.send(command)).rejects.toMatchObject(refused);
    }
    const remove = new AdminDeleteUserAttributesCommand({ ...about, UserAttributeNames: ['sub'] });
    await expect(client.send(remove)).rejects.toMatchObject(refused);
  });

  it('AdminDisableUser and AdminEnableUser leave the date, unless the pool is set to move it', async () => {
    let now = 1_700_000_000_000;
    const { emulator, client } = await sdkSession({
      now: () => now,
      pools: [{}, { id: 'eu-west-1_moves', disableMovesDate: true }],
    });
    for (const pool of emulator.pools()) {
      const { UserLastModifiedDate: before } = pool.create({ username: 'ada' });
      now += 5000;
      const moved = pool.id === 'eu-west-1_moves';
      await client.send(new AdminDisableUserCommand({ UserPoolId: pool.id, Username: 'ada' }));
      expect(pool.get('ada')).toMatchObject({ Enabled: false, UserLastModifiedDate: moved ? new Date(now) : before });
      await client.send(new AdminEnableUserCommand({ UserPoolId: pool.id, Username: 'ada' }));
      expect(pool.get('ada')?.Enabled).toBe(true);
    }
  });

  it('AdminDeleteUser; the username can be used again, with a new sub and a later date', async () => {
    const { pool, client } = await sdkSession({ now: () => 1_700_000_000_000 });
    const about = { UserPoolId: pool.id, Username: 'ada' };
    const { User: first } = await client.send(new AdminCreateUserCommand(about));
    await client.send(new AdminDeleteUserCommand(about));
    await expect(client.send(new AdminDeleteUserCommand(about))).rejects.toMatchObject({
      name: 'UserNotFoundException',
    });
    expect(pool.size).toBe(0);
    const { User: second } = await client.send(new AdminCreateUserCommand(about));
    expect(second?.Attributes?.[0]?.Value).not.toBe(first?.Attributes?.[0]?.Value);
    expect(Number(second?.UserCreateDate)).toBeGreaterThan(Number(first?.UserCreateDate));
  });

  it('SignUp, ConfirmSignUp and AdminConfirmSignUp', async () => {
    const { pool, client } = await sdkSession();
    const UserAttributes = [{ Name: 'email', Value: 'a@example.com' }];
    const about = { ClientId: pool.clientId, Username: 'ada' };
    const { UserSub } = await client.send(new SignUpCommand({ ...about, Password, UserAttributes }));
    expect(pool.get('ada')).toMatchObject({ UserStatus: 'UNCONFIRMED', Attributes: [{ Value: UserSub }, {}] });
    const confirm = (ConfirmationCode: string) => client.send(new ConfirmSignUpCommand({ ...about, ConfirmationCode }));
    await expect(confirm('000000')).rejects.toMatchObject({ name: 'CodeMismatchException' });
    await confirm('123456');
    expect(pool.get('ada')?.UserStatus).toBe('CONFIRMED');
    expect(pool.get('ada')?.Attributes).toContainEqual({ Name: 'email_verified', Value: 'true' });
    await expect(confirm('123456')).rejects.toMatchObject({ name: 'NotAuthorizedException' });

    await client.send(new SignUpCommand({ ...about, Username: 'bob', Password }));
    await client.send(new AdminConfirmSignUpCommand({ UserPoolId: pool.id, Username: 'bob' }));
    expect(pool.get('bob')?.UserStatus).toBe('CONFIRMED');
    await expect(client.send(new SignUpCommand({ ...about, Password: 'short' }))).rejects.toMatchObject({
      name: 'InvalidPasswordException',
    });
    await expect(client.send(new SignUpCommand({ ...about, ClientId: 'other', Password }))).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    });
  });

  it('AdminSetUserPassword moves the status', async () => {
    const { pool, client } = await sdkSession();
    pool.create({ username: 'ada', status: 'RESET_REQUIRED' });
    const set = (Permanent: boolean) =>
      client.send(new AdminSetUserPasswordCommand({ UserPoolId: pool.id, Username: 'ada', Password, Permanent }));
    await set(true);
    expect(pool.get('ada')?.UserStatus).toBe('CONFIRMED');
    await set(false);
    expect(pool.get('ada')?.UserStatus).toBe('FORCE_CHANGE_PASSWORD');
  });

  it('take an e-mail for a username where the pool signs in by e-mail, and keep it unique where it is an alias', async () => {
    const { pool, client } = await sdkSession({ pools: [{ usernames: 'sub', emailAlias: true }] });
    const create = (Username: string) => client.send(new AdminCreateUserCommand({ UserPoolId: pool.id, Username }));
    const { User } = await create('a@example.com');
    expect(User?.Attributes).toEqual([
      { Name: 'sub', Value: User?.Username },
      { Name: 'email', Value: 'a@example.com' },
    ]);
    await expect(create('a@example.com')).rejects.toMatchObject({ name: 'UsernameExistsException' });
    await expect(create('ada')).rejects.toMatchObject({ name: 'InvalidParameterException' });
    await create('b@example.com');
    const UserAttributes = [{ Name: 'email', Value: 'a@example.com' }];
    const about = { UserPoolId: pool.id, Username: 'b@example.com' };
    const taken = client.send(new AdminUpdateUserAttributesCommand({ ...about, UserAttributes }));
    await expect(taken).rejects.toMatchObject({ name: 'AliasExistsException' });
    await client.send(new AdminDeleteUserCommand({ UserPoolId: pool.id, Username: 'a@example.com' }));
    await client.send(new AdminUpdateUserAttributesCommand({ ...about, UserAttributes }));
    expect(pool.size).toBe(1);
  });
});

it('does not know the other operations', async () => {
  const { client } = await sdkSession();
  await expect(client.send(new ListUserPoolsCommand({ MaxResults: 1 }))).rejects.toMatchObject({
    name: 'UnknownOperationException',
  });
});
