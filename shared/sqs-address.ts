/** What an SQS queue's URL says of it. Pure. */

export interface QueueAddress {
  readonly region: string | null;
  /** null where the URL doesn't tell. */
  readonly account: string | null;
  readonly name: string;
}

/** `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`, older and other forms as far as they tell. */
export function queueAddress(url: string): QueueAddress {
  const { hostname, pathname } = new URL(url);
  const region = /^(?:sqs\.)?([a-z]{2,3}(?:-[a-z]+)+-\d{1,2})\./.exec(hostname)?.[1] ?? null;
  const parts = pathname.split('/').filter((part) => part !== '');
  const account = parts.find((part) => /^\d{12}$/.test(part)) ?? null;
  return { region, account, name: parts.at(-1) ?? '' };
}
