/**
 * What `POST /refresh` takes: a plain list, an EventBridge event as an API destination posts it, a Lambda trigger's event. Pure.
 */
import { z } from 'zod';
import { readEvent } from './cloudtrail-event.ts';
import { type Hint, LONGEST_NAME } from './hint.ts';

/** What is to be done with it. `pool`: null where it names none. */
export interface HintBody {
  readonly pool: string | null;
  readonly eventId: string | null;
  readonly hints: readonly Omit<Hint, 'source'>[];
  /** Somebody has changed, nobody says who. */
  readonly nameless: boolean;
}

const name = z.string().min(1).max(LONGEST_NAME);
const plain = z
  .strictObject({ usernames: z.array(name).optional(), subs: z.array(name).optional() })
  .refine(({ usernames, subs }) => usernames !== undefined || subs !== undefined);
/** https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-working-with-lambda-triggers.html */
const trigger = z.object({
  triggerSource: z.string(),
  userPoolId: name,
  userName: name,
  request: z.object({ userAttributes: z.object({ sub: name.optional() }).optional() }).optional(),
});

/** How long after a change somebody's hint comes who tells at once, milliseconds: a user who was modified since then shows it. */
const TOLD_WITHIN_MS = 5_000;

/**
 * @param now milliseconds since the epoch
 * @returns why it can't be understood, in a line without values
 */
export function readHintBody(body: string, now: number): HintBody | string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return 'the body is no JSON';
  }
  const list = plain.safeParse(parsed);
  const told = { sub: null, expect: 'change', since: now - TOLD_WITHIN_MS } as const;
  if (list.success) {
    const { usernames = [], subs = [] } = list.data;
    const hints = [
      ...subs.map((sub) => ({ by: 'sub', name: sub, ...told }) as const),
      ...usernames.map((username) => ({ by: 'username', name: username, ...told }) as const),
    ];
    return { pool: null, eventId: null, hints, nameless: false };
  }
  const triggered = trigger.safeParse(parsed);
  if (triggered.success) {
    const { userPoolId, userName, request } = triggered.data;
    const sub = request?.userAttributes?.sub;
    const named =
      sub === undefined ? ({ by: 'username', name: userName } as const) : ({ by: 'sub', name: sub } as const);
    return { pool: userPoolId, eventId: null, hints: [{ ...named, ...told }], nameless: false };
  }
  const event = readEvent(parsed);
  switch (event.kind) {
    case 'hint':
      return { pool: event.pool, eventId: event.eventId, hints: [event.hint], nameless: false };
    case 'nameless':
      return { pool: event.pool, eventId: event.eventId, hints: [], nameless: true };
    case 'ignored':
      return { pool: null, eventId: null, hints: [], nameless: false };
    case 'unreadable':
      return 'the body is neither {"usernames": […], "subs": […]} nor an EventBridge nor a Cognito Lambda trigger event';
  }
}
