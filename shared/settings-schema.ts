/**
 * Every setting there is, in one table: its schema, default and description. The loader, `--help` and the settings reference all
 * read this one.
 */
import type { z } from 'zod';
import * as value from './settings-values.ts';

/** @typeParam T what the setting's text stands for */
export interface Setting<T> {
  /** `pool`: an entry of `pools:` may have its own. */
  readonly scope: 'service' | 'pool';
  readonly schema: z.ZodType<T, string>;
  /** As one would write it; '' where there is none. */
  readonly default: string;
  /** What an empty value means: the thing is off, the default counts, or it is refused because there is nothing to turn off. */
  readonly empty: 'off' | 'default' | 'refused';
  /** The value of a thing that is off, or that has neither value nor default. */
  readonly off: T;
  /** Its text is never printed, and `NAME_FILE` may name a file that holds it. */
  readonly secret: boolean;
  /** One line, for people. */
  readonly description: string;
}

type About = Partial<Pick<Setting<unknown>, 'scope' | 'default' | 'secret'>> & { readonly description: string };

/** Off, or not there: null. */
function optional<T>(schema: z.ZodType<T, string>, about: About): Setting<T | null> {
  return { scope: 'pool', default: '', secret: false, ...about, schema, empty: 'off', off: null };
}

/** Has a default; an empty value is as none. */
function chosen<T>(schema: z.ZodType<T, string>, about: About & { readonly default: string }): Setting<T> {
  return { scope: 'pool', secret: false, ...about, schema, empty: 'default', off: schema.parse(about.default) };
}

/** Has a default, and the service can't do without a value. */
function indispensable<T>(schema: z.ZodType<T, string>, about: About & { readonly default: string }): Setting<T> {
  return { ...chosen(schema, about), empty: 'refused' };
}

/** Nothing by default; whether a command can do without is the command's to say. */
function asNeeded(schema: z.ZodType<string, string>, about: About): Setting<string> {
  return { scope: 'pool', default: '', secret: false, ...about, schema, empty: 'off', off: '' };
}

function toggle(about: About & { readonly default: 'true' | 'false' }): Setting<boolean> {
  return { scope: 'pool', secret: false, ...about, schema: value.flag, empty: 'off', off: false };
}

const ENDPOINT = 'Where the SDK finds it, for an emulator or a VPC endpoint';

export const SETTINGS = {
  COGNITO_USER_POOL_ID: asNeeded(value.text, { description: 'The Cognito user pool' }),
  AWS_REGION: optional(value.text, {
    description:
      "The pool's Region; without it the Region in the pool's id, AWS_DEFAULT_REGION, then the SDK's own chain",
  }),
  AWS_ENDPOINT_URL: optional(value.httpUrl, { description: `All of AWS: ${ENDPOINT}` }),
  AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER: optional(value.httpUrl, { description: `Cognito: ${ENDPOINT}` }),
  AWS_ENDPOINT_URL_SQS: optional(value.httpUrl, { description: `SQS: ${ENDPOINT}` }),
  AWS_ENDPOINT_URL_CLOUDWATCH_EVENTS: optional(value.httpUrl, { description: `EventBridge: ${ENDPOINT}` }),
  COGNITO_FOREIGN_SERVER: optional(value.text, {
    description:
      'Instead of the pool: the Wrappers server whose options give region, pool and keys; needs DATABASE_URL',
  }),
  DATABASE_URL: asNeeded(value.databaseUrl, {
    secret: true,
    description: 'Postgres 15 to 18, UTF8; TLS by its sslmode and sslrootcert',
  }),
  DATABASE_AUTH: optional(value.oneOf('rds-iam'), {
    description: 'rds-iam: a token of RDS IAM authentication in place of a password',
  }),
  REDIS_URL: asNeeded(value.redisUrl, {
    scope: 'service',
    secret: true,
    description: 'redis:, rediss:, redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/name',
  }),
  REDIS_CA: optional(value.text, {
    scope: 'service',
    description: 'The CA file (PEM) that a rediss: server is checked against',
  }),
  TARGET_TABLE: chosen(value.tableName, { default: 'cognito.users', description: 'The mirror, schema.table' }),
  POLL_INTERVAL: indispensable(value.duration, {
    default: '30s',
    description: 'From the end of one scan to the start of the next',
  }),
  REQUESTS_PER_SECOND: indispensable(value.decimal(0, 100_000, false), {
    scope: 'service',
    default: '10',
    description: "ListUsers requests of the whole deployment in one Region; AWS's quota is 30",
  }),
  DELETE_GUARD_COUNT: optional(value.wholeNumber(0, 1e9), {
    default: '50',
    description:
      'Deletes of one scan are held when they are more than this and more than DELETE_GUARD_PERCENT; empty: no longer counts',
  }),
  DELETE_GUARD_PERCENT: optional(value.decimal(0, 100, true), {
    default: '10',
    description: 'Percent of the mirror; see DELETE_GUARD_COUNT; both empty: no guard',
  }),
  CONFIRM_WITH_ADMIN_GET_USER: toggle({
    default: 'true',
    description: 'Prove by AdminGetUser that a user is gone; false: a second exact look in the next scan has to do',
  }),
  MAX_QUEUED_CHANGES: indispensable(value.wholeNumber(1, 1e9), {
    default: '50000',
    description: 'While more changes wait, nothing adds to them',
  }),
  RESYNC_INTERVAL: optional(value.duration, {
    default: '24h',
    description: 'How often the snapshot is rebuilt from the mirror; empty: never',
  }),
  CHANGE_RETENTION: optional(value.duration, {
    default: '7d',
    description: 'How long the change log is kept; empty: no change log',
  }),
  PUBLICATION: optional(value.postgresName, {
    default: 'cognito_users',
    description: "The mirror's publication for logical replication; empty: none",
  }),
  HOT_LANES: {
    ...chosen(value.commaList, {
      default: 'UNCONFIRMED,FORCE_CHANGE_PASSWORD,RESET_REQUIRED',
      description: 'The statuses whose users are read every HOT_INTERVAL; empty: none',
    }),
    empty: 'off',
    off: [],
  } satisfies Setting<string[]>,
  HOT_INTERVAL: optional(value.duration, { default: '5s', description: 'See HOT_LANES; empty: no hot lanes' }),
  SQS_QUEUE_URL: optional(value.httpUrl, {
    description: 'The queue that receives CloudTrail events through EventBridge',
  }),
  REFRESH_TOKEN: optional(value.text, {
    scope: 'service',
    secret: true,
    description: 'Turns POST /refresh on; the bearer token it asks for',
  }),
  EVENT_BUS_NAME: optional(value.text, { description: 'The EventBridge bus that changes are put on' }),
  EVENT_SOURCE: chosen(value.eventSource, { default: 'cognito-feed', description: "The events' source" }),
  EVENT_VALUES: toggle({ default: 'false', description: 'Whether events carry the old and new row' }),
  WEBHOOK_URL: optional(value.httpUrl, {
    secret: true,
    description: 'Where changes are posted; several endpoints: `webhooks:` in YAML',
  }),
  WEBHOOK_SECRET: optional(value.webhookSecret, {
    secret: true,
    description: 'Signs them, as Standard Webhooks writes it: whsec_…',
  }),
  WEBHOOK_SECRET_PREVIOUS: optional(value.webhookSecret, {
    secret: true,
    description: 'Signs them too while a secret is rotated',
  }),
  WEBHOOK_ALLOW_INSECURE: toggle({ default: 'false', description: 'Allows plain http and private addresses' }),
  HTTP_HOST: chosen(value.text, {
    scope: 'service',
    default: '127.0.0.1',
    description: 'The address of /, /healthz, /readyz, /metrics and POST /refresh (image: 0.0.0.0)',
  }),
  HTTP_PORT: optional(value.wholeNumber(0, 65_535), {
    scope: 'service',
    default: '9464',
    description: 'Its port; 0: any free one; empty: no server',
  }),
  LOG_LEVEL: chosen(value.oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'), {
    scope: 'service',
    default: 'info',
    description: 'trace, debug, info, warn, error, fatal or silent',
  }),
  LOG_FORMAT: optional(value.oneOf('json', 'pretty'), {
    scope: 'service',
    description: 'json or pretty; pretty on a terminal, else json',
  }),
} as const;

export type SettingName = keyof typeof SETTINGS;
export type SettingValue<N extends SettingName> = (typeof SETTINGS)[N] extends Setting<infer T> ? T : never;
export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

/** `POLL_INTERVAL` is `pollInterval` in YAML. */
export const yamlName = (name: string): string =>
  name.toLowerCase().replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
