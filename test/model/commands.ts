/** What can happen in a run, as data: fast-check makes lists of it and shortens them. */
import fc from 'fast-check';

const USERNAMES = ['ann', 'bob', 'cid', 'dee', 'eve'] as const;
export type Username = (typeof USERNAMES)[number];

/** By place among those alive; the count of replicas is the run's. */
type Replica = number;

export type Command =
  /** So many steps of whoever comes; `only`: of one replica, while the others stand still. */
  | { readonly do: 'go'; readonly steps: number; readonly seed: number; readonly only: Replica | null }
  | { readonly do: 'wait'; readonly ms: number }
  | {
      readonly do: 'user';
      readonly what: 'create' | 'update' | 'quiet update' | 'disable' | 'delete' | 'recreate';
      readonly username: Username;
    }
  | { readonly do: 'lag'; readonly ms: number; readonly hide: Username | null }
  | { readonly do: 'pages'; readonly what: 'empty' | 'refuse token' | 'fail' }
  | { readonly do: 'scan'; readonly sharded: boolean }
  | { readonly do: 'refresh'; readonly username: Username }
  | { readonly do: 'crash' | 'stop' | 'wake'; readonly replica: Replica }
  | { readonly do: 'fault'; readonly replica: Replica; readonly when: 'before' | 'after' }
  /** A job's lock is lost though its worker lives: it is delivered again. */
  | { readonly do: 'redeliver'; readonly job: number }
  /** A job that waits is late. */
  | { readonly do: 'delay'; readonly job: number; readonly ms: number }
  | { readonly do: 'redis'; readonly what: 'save' | 'restore' | 'lose'; readonly skewMs: number }
  | { readonly do: 'postgres'; readonly what: 'save' | 'restore' | 'end sessions' | 'replace mirror' }
  | { readonly do: 'poison'; readonly username: Username | null }
  | {
      readonly do: 'edit';
      readonly what: 'email' | 'forward' | 'remove' | 'strip' | 'copy' | 'invent';
      readonly username: Username;
    }
  | { readonly do: 'resync' }
  | { readonly do: 'anti-entropy'; readonly on: boolean };

const username = fc.constantFrom(...USERNAMES);
const replica = fc.nat(3);

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 34,
    arbitrary: fc.record({
      do: fc.constant('go'),
      steps: fc.integer({ min: 1, max: 60 }),
      seed: fc.nat(),
      only: fc.option(replica, { freq: 3 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('wait'),
      ms: fc.constantFrom(700, 30_000, 240_000, 660_000, 1_860_000, 3_700_000),
    }),
  },
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant('user'),
      what: fc.constantFrom(
        'create',
        'create',
        'update',
        'update',
        'quiet update',
        'disable',
        'delete',
        'delete',
        'recreate',
        'recreate',
        'recreate',
      ),
      username,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('lag'),
      ms: fc.constantFrom(0, 200, 5_000, 120_000, 900_000),
      hide: fc.option(username, { freq: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('pages'), what: fc.constantFrom('empty', 'refuse token', 'fail', 'fail') }),
  },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('scan'), sharded: fc.nat(7).map((n) => n === 7) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('refresh'), username }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('crash', 'stop', 'stop', 'wake'), replica }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('fault'), replica, when: fc.constantFrom('before', 'after') }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('redeliver'), job: fc.nat(5) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('delay'),
      job: fc.nat(3),
      ms: fc.constantFrom(3_000, 60_000, 660_000, 4_000_000),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('redis'),
      what: fc.constantFrom('save', 'restore', 'lose'),
      skewMs: fc.constantFrom(0, -20_000, 20_000),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('postgres'),
      what: fc.constantFrom('save', 'restore', 'end sessions', 'replace mirror'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('poison'), username: fc.option(username, { freq: 1 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('edit'),
      what: fc.constantFrom('email', 'forward', 'remove', 'strip', 'invent'),
      username,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('resync') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('anti-entropy'), on: fc.boolean() }) },
) as fc.Arbitrary<Command>;

/** A run does without some kinds of commands and some users: what hides behind the noise of all of them at once shows itself where there are few. */
const DISPENSABLE = [
  ...([
    'wait',
    'lag',
    'pages',
    'refresh',
    'crash',
    'stop',
    'fault',
    'redeliver',
    'delay',
    'redis',
    'postgres',
    'poison',
  ] as const),
  ...(['edit', 'resync', 'anti-entropy', 'cid', 'dee', 'eve'] as const),
];

export interface History {
  readonly without: readonly string[];
  readonly commands: readonly Command[];
}

export const history: fc.Arbitrary<History> = fc.record({
  without: fc.subarray(DISPENSABLE),
  commands: fc.array(command, { minLength: 5, maxLength: 90, size: 'max' }),
});

/** The commands that are left. */
export const told = ({ without, commands }: History): Command[] =>
  commands.filter((one) => !without.includes(one.do) && !('username' in one && without.includes(one.username ?? '')));
