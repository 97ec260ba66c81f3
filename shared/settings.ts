/**
 * All settings, checked together before anything connects: from the environment, files that it names, and a YAML file.
 */
import { readFileSync } from 'node:fs';
import type { AwsKeys } from './foreign-server.ts';
import { SETTINGS, type Setting, type SettingName, type SettingValue } from './settings-schema.ts';
import {
  type ConfigFile,
  type Env,
  type Given,
  type ReadFile,
  readConfigFile,
  type Section,
  type Texts,
  textsOfEnv,
} from './settings-source.ts';
import { checkTogether, choosePools, type Needs, regionOf } from './settings-together.ts';
import type { TableName } from './settings-values.ts';
import { checkWebhook, readWebhooks, SINGLE_WEBHOOK, type WebhookSettings } from './settings-webhook.ts';

export type { Needs, TableName, WebhookSettings };

/**
 * One pool and its mirror. `poolId` and `databaseUrl` are '' where the command does not need them and nothing gives them.
 * Durations are milliseconds; null is a thing that is off.
 */
export interface PoolSettings {
  readonly poolId: string;
  /** null: the AWS SDK's own chain finds it. */
  readonly region: string | null;
  /** From these settings; null: the SDK's own chain. */
  readonly endpoints: { readonly cognito: string | null; readonly sqs: string | null; readonly events: string | null };
  /** A Wrappers server in the database that gives pool, Region and keys; then `poolId` is '' until it has been read. */
  readonly foreignServer: string | null;
  /** The keys of that server, for Cognito alone; null: the SDK's own chain. */
  readonly credentials: AwsKeys | null;
  readonly databaseUrl: string;
  readonly databaseAuth: 'rds-iam' | null;
  readonly targetTable: TableName;
  readonly pollIntervalMs: number;
  readonly deleteGuardCount: number | null;
  /** 0 to 100. */
  readonly deleteGuardPercent: number | null;
  readonly confirmWithAdminGetUser: boolean;
  readonly maxQueuedChanges: number;
  readonly resyncIntervalMs: number | null;
  /** null: no change log. */
  readonly changeRetentionMs: number | null;
  readonly publication: string | null;
  /** Statuses; empty where `hotIntervalMs` is null, and the other way round. */
  readonly hotLanes: readonly string[];
  readonly hotIntervalMs: number | null;
  readonly sqsQueueUrl: string | null;
  readonly eventBusName: string | null;
  readonly eventSource: string;
  readonly eventValues: boolean;
  readonly webhooks: readonly WebhookSettings[];
}

export interface Settings {
  /** '' where the command does not need it and nothing gives it. */
  readonly redisUrl: string;
  /** The certificates themselves, PEM. */
  readonly redisCa: string | null;
  readonly requestsPerSecond: number;
  readonly refreshToken: string | null;
  readonly httpHost: string;
  /** null: no server. */
  readonly httpPort: number | null;
  readonly logLevel: SettingValue<'LOG_LEVEL'>;
  /** null: pretty on a terminal, else json. */
  readonly logFormat: 'json' | 'pretty' | null;
  /** At least one; those that `--pool` chose. */
  readonly pools: readonly PoolSettings[];
  /** `--pool`: still to be compared with a pool that a foreign server names. */
  readonly chosenPool: string | null;
  /** What works but deserves a look; to be logged once, at warn. */
  readonly warnings: readonly string[];
  /** Texts that must appear in no output: passwords, tokens, keys. */
  readonly secrets: readonly string[];
}

/** Everything that is wrong with the settings. Exit code 2. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
  readonly problems: readonly string[];
  readonly exitCode = 2;
  constructor(problems: readonly string[]) {
    super(
      problems.length === 1
        ? `Bad settings: ${problems[0]}`
        : `Bad settings:\n${problems.map((it) => `  - ${it}`).join('\n')}`,
    );
    this.problems = problems;
  }
}

export interface LoadOptions {
  /** What the command can't do without. */
  readonly needs?: Needs;
  /** `--pool`: the id of one of several pools. */
  readonly pool?: string | undefined;
  /** Instead of the file system's. */
  readonly readFile?: ReadFile;
}

/** @throws SettingsError with every problem there is */
export function loadSettings(env: Env, options: LoadOptions = {}): Settings {
  const { needs = {}, readFile = (path: string) => readFileSync(path, 'utf8') } = options;
  const problems: string[] = [];
  const warnings: string[] = [];
  const fromEnv = textsOfEnv(env, readFile, problems);
  const path = env['COGNITO_FEED_CONFIG'] ?? '';
  const file: ConfigFile | null = path === '' ? null : readConfigFile(path, readFile, problems);

  const service = serviceSettings(new Values([fromEnv, file?.top.texts], problems), readFile, problems);
  const entries: readonly (Section | null)[] = file?.pools ?? [null];
  const pools = entries.map((entry) => {
    const values = new Values([entry?.texts, fromEnv, file?.top.texts], problems);
    const webhooks = readWebhooks(entry?.webhooks ?? file?.top.webhooks ?? [], problems, warnings);
    return poolSettings(values, env, [...singleWebhook(values, problems, warnings), ...webhooks]);
  });
  const chosen = choosePools(pools, options.pool, problems);
  checkTogether(service, pools, chosen, needs, { problems, warnings });
  // What two pools inherit from one place is wrong in one place.
  const distinct = [...new Set(problems)];
  if (distinct.length > 0) throw new SettingsError(distinct);
  const { pool: chosenPool = null } = options;
  return {
    ...service,
    pools: chosen,
    chosenPool,
    warnings: [...new Set(warnings)],
    secrets: secretsIn(service, pools),
  };
}

/** Settings looked up in layers, the first that has one counts; notes what is wrong with each. */
class Values {
  readonly #layers: readonly (Texts | undefined)[];
  readonly #problems: string[];
  constructor(layers: readonly (Texts | undefined)[], problems: string[]) {
    this.#layers = layers;
    this.#problems = problems;
  }

  given(name: SettingName): Given | undefined {
    for (const layer of this.#layers) {
      const given = layer?.get(name);
      if (given !== undefined) return given;
    }
    return undefined;
  }

  /** Whether it was given at all, and not as an empty text. */
  has(name: SettingName): boolean {
    return (this.given(name)?.text.trim() ?? '') !== '';
  }

  /** How to name it in a message. */
  place(name: SettingName): string {
    return this.given(name)?.place ?? name;
  }

  get<N extends SettingName>(name: N): SettingValue<N> {
    // The table's own type says that this setting's values are of this type.
    const setting = SETTINGS[name] as unknown as Setting<SettingValue<N>>;
    const given = this.given(name);
    const text = given?.text.trim();
    if (given?.unreadable) return withoutValue(setting);
    if (text === '' && setting.empty === 'off') return setting.off;
    if (text === '' && setting.empty === 'refused') {
      this.#problems.push(`${this.place(name)} is empty, but can't be turned off (default: ${setting.default})`);
      return setting.off;
    }
    if (text === undefined || text === '')
      return setting.default === '' ? setting.off : setting.schema.parse(setting.default);
    const result = setting.schema.safeParse(text);
    if (result.success) return result.data;
    const shown = setting.secret ? '' : `${JSON.stringify(text.slice(0, 80))}, `;
    this.#problems.push(`${this.place(name)} is ${shown}${result.error.issues[0]?.message ?? 'not understood'}`);
    return withoutValue(setting);
  }
}

/** In place of a value that is bad: not '', which another check would call missing. */
function withoutValue<T>(setting: Setting<T>): T {
  return setting.off === '' ? ('?' as T) : setting.off;
}

function singleWebhook(values: Values, problems: string[], warnings: string[]): WebhookSettings[] {
  const before = problems.length;
  const url = values.get('WEBHOOK_URL');
  const secret = values.get('WEBHOOK_SECRET');
  const secretPrevious = values.get('WEBHOOK_SECRET_PREVIOUS');
  const allowInsecure = values.get('WEBHOOK_ALLOW_INSECURE');
  if (url === null || problems.length > before) return [];
  if (secret === null) {
    problems.push(
      `WEBHOOK_SECRET is missing: ${values.place('WEBHOOK_URL')} needs one to sign with (whsec_ and then base64)`,
    );
    return [];
  }
  const at = {
    url: values.place('WEBHOOK_URL'),
    secret: values.place('WEBHOOK_SECRET'),
    allowInsecure: 'WEBHOOK_ALLOW_INSECURE',
  };
  checkWebhook({ url, secret, allowInsecure }, at, problems, warnings);
  return [
    { name: SINGLE_WEBHOOK, url, secret, secretPrevious, allowInsecure, ops: null, columns: null, attributes: null },
  ];
}

function poolSettings(values: Values, env: Env, webhooks: readonly WebhookSettings[]): PoolSettings {
  const poolId = values.get('COGNITO_USER_POOL_ID');
  const anywhere = values.get('AWS_ENDPOINT_URL');
  const hotLanes = values.get('HOT_LANES');
  const hotIntervalMs = values.get('HOT_INTERVAL');
  const hot = hotLanes.length > 0 && hotIntervalMs !== null;
  return {
    poolId,
    region: regionOf(poolId, values.get('AWS_REGION'), env),
    endpoints: {
      cognito: values.get('AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER') ?? anywhere,
      sqs: values.get('AWS_ENDPOINT_URL_SQS') ?? anywhere,
      events: values.get('AWS_ENDPOINT_URL_CLOUDWATCH_EVENTS') ?? anywhere,
    },
    foreignServer: values.get('COGNITO_FOREIGN_SERVER'),
    credentials: null,
    databaseUrl: values.get('DATABASE_URL'),
    databaseAuth: values.get('DATABASE_AUTH'),
    targetTable: values.get('TARGET_TABLE'),
    pollIntervalMs: values.get('POLL_INTERVAL'),
    deleteGuardCount: values.get('DELETE_GUARD_COUNT'),
    deleteGuardPercent: values.get('DELETE_GUARD_PERCENT'),
    confirmWithAdminGetUser: values.get('CONFIRM_WITH_ADMIN_GET_USER'),
    maxQueuedChanges: values.get('MAX_QUEUED_CHANGES'),
    resyncIntervalMs: values.get('RESYNC_INTERVAL'),
    changeRetentionMs: values.get('CHANGE_RETENTION'),
    publication: values.get('PUBLICATION'),
    hotLanes: hot ? hotLanes : [],
    hotIntervalMs: hot ? hotIntervalMs : null,
    sqsQueueUrl: values.get('SQS_QUEUE_URL'),
    eventBusName: values.get('EVENT_BUS_NAME'),
    eventSource: values.get('EVENT_SOURCE'),
    eventValues: values.get('EVENT_VALUES'),
    webhooks,
  };
}

type ServiceSettings = Omit<Settings, 'pools' | 'chosenPool' | 'warnings' | 'secrets'>;

function serviceSettings(values: Values, readFile: ReadFile, problems: string[]): ServiceSettings {
  return {
    redisUrl: values.get('REDIS_URL'),
    redisCa: certificates(values, readFile, problems),
    requestsPerSecond: values.get('REQUESTS_PER_SECOND'),
    refreshToken: values.get('REFRESH_TOKEN'),
    httpHost: values.get('HTTP_HOST'),
    httpPort: values.get('HTTP_PORT'),
    logLevel: values.get('LOG_LEVEL'),
    logFormat: values.get('LOG_FORMAT'),
  };
}

/** REDIS_CA is a file, or the certificates themselves. */
function certificates(values: Values, readFile: ReadFile, problems: string[]): string | null {
  const given = values.get('REDIS_CA');
  if (given === null || given.startsWith('-----BEGIN ')) return given;
  try {
    const pem = readFile(given);
    if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem;
    problems.push(`${values.place('REDIS_CA')}: the file ${given} holds no certificate in PEM`);
  } catch (error) {
    problems.push(
      `${values.place('REDIS_CA')}: the file ${given} can't be read (${(error as NodeJS.ErrnoException).code})`,
    );
  }
  return null;
}

/** What must appear nowhere: the secret settings, and the passwords in those that are URLs. */
function secretsIn(settings: ServiceSettings, pools: readonly PoolSettings[]): string[] {
  const urls = [settings.redisUrl, ...pools.map((pool) => pool.databaseUrl)];
  const passwords = urls.flatMap((url) => {
    const raw = /^[^/]*\/\/[^:@/]*:([^@/]*)@/.exec(url)?.[1] ?? '';
    return [
      raw,
      URL.canParse(`redis://:${raw}@h`) ? decodeURIComponent(raw.replace(/%(?![0-9a-f]{2})/gi, '%25')) : raw,
    ];
  });
  const webhooks = pools.flatMap((pool) =>
    pool.webhooks.flatMap(({ url, secret, secretPrevious }) => [url, secret, secretPrevious]),
  );
  const all = [...passwords, settings.refreshToken, ...webhooks];
  return [...new Set(all.filter((text): text is string => text !== null && text !== ''))];
}
