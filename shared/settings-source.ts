/**
 * Where a setting's text comes from: an entry of the file's `pools:`, the environment, the file's top level, in that order.
 */
import { dirname, resolve } from 'node:path';
import { isScalar, isSeq, LineCounter, type Node, parseDocument, YAMLMap } from 'yaml';
import { SETTING_NAMES, SETTINGS, type SettingName, yamlName } from './settings-schema.ts';

export type Env = Readonly<Record<string, string | undefined>>;
/** @throws NodeJS.ErrnoException where the file can't be read */
export type ReadFile = (path: string) => string;
/** A text, and how a message names the place it stands in. */
export interface Given {
  readonly text: string;
  readonly place: string;
  /** It stands in a file that can't be read, which has been noted. */
  readonly unreadable?: true;
}
/** Texts by the setting's name. */
export type Texts = ReadonlyMap<SettingName, Given>;
/** An endpoint of `webhooks:`, as it stands there. */
export interface WebhookEntry {
  readonly place: string;
  readonly texts: ReadonlyMap<string, Given>;
  readonly lists: ReadonlyMap<string, readonly string[]>;
}
export interface Section {
  readonly texts: Texts;
  readonly webhooks: readonly WebhookEntry[] | null;
}
export interface ConfigFile {
  readonly top: Section;
  /** null: the file has no `pools:`. */
  readonly pools: readonly (Section & { readonly place: string })[] | null;
}

const WEBHOOK_TEXTS = ['name', 'url', 'secret', 'secretPrevious', 'allowInsecure'] as const;
const WEBHOOK_SECRETS: ReadonlySet<string> = new Set(['url', 'secret', 'secretPrevious']);
const WEBHOOK_LISTS: ReadonlySet<string> = new Set(['ops', 'columns', 'attributes']);
const NO_SECTION: Section = { texts: new Map(), webhooks: null };

/** Reads a `NAME_FILE`; the last line's end is no part of the value. */
function readSecret(path: string, place: string, readFile: ReadFile, problems: string[]): Given {
  try {
    return { text: readFile(path).replace(/\r?\n$/, ''), place };
  } catch (error) {
    problems.push(`${place}: the file ${path} can't be read (${codeOf(error)})`);
    return { text: '', place, unreadable: true };
  }
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown reason';

/** The settings in the environment; an unknown name there is somebody else's. */
export function textsOfEnv(env: Env, readFile: ReadFile, problems: string[]): Texts {
  const texts = new Map<SettingName, Given>();
  for (const name of SETTING_NAMES) {
    const text = env[name];
    const file = SETTINGS[name].secret ? env[`${name}_FILE`] : undefined;
    if (file !== undefined && file !== '') {
      if (text !== undefined && text !== '')
        problems.push(`${name} and ${name}_FILE are both set: only one of them can count`);
      texts.set(name, readSecret(file, `${name}_FILE`, readFile, problems));
    } else if (text !== undefined) {
      texts.set(name, { text, place: name });
    }
  }
  return texts;
}

/** Reads and checks COGNITO_FEED_CONFIG as far as names and shapes go. */
export function readConfigFile(path: string, readFile: ReadFile, problems: string[]): ConfigFile {
  const nothing: ConfigFile = { top: NO_SECTION, pools: null };
  let source: string;
  try {
    source = readFile(path);
  } catch (error) {
    problems.push(`COGNITO_FEED_CONFIG: the file ${path} can't be read (${codeOf(error)})`);
    return nothing;
  }
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  // Not the parser's own messages: they quote the file, and it may hold secrets.
  for (const { code, pos } of document.errors)
    problems.push(`${path}:${lines.linePos(pos[0]).line}: no valid YAML (${code})`);
  if (document.errors.length > 0 || document.contents === null) return nothing;
  return new Reader(path, lines, readFile, problems).file(document.contents);
}

class Reader {
  readonly #path: string;
  readonly #lines: LineCounter;
  readonly #readFile: ReadFile;
  readonly #problems: string[];
  constructor(path: string, lines: LineCounter, readFile: ReadFile, problems: string[]) {
    this.#path = path;
    this.#lines = lines;
    this.#readFile = readFile;
    this.#problems = problems;
  }

  file(contents: Node): ConfigFile {
    const top = this.#section(contents, '', true);
    const list = contents instanceof YAMLMap ? (contents.get('pools', true) as unknown) : undefined;
    if (list === undefined) return { top, pools: null };
    if (!isSeq(list) || list.items.length === 0) {
      this.#problems.push(`${this.#place('pools', list)}: no list of pools`);
      return { top, pools: null };
    }
    const pools = list.items.map((item, index) => ({
      ...this.#section(item, `pools[${index}].`, false),
      place: this.#place(`pools[${index}]`, item),
    }));
    return { top, pools };
  }

  #section(node: unknown, prefix: string, top: boolean): Section {
    const texts = new Map<SettingName, Given>();
    let webhooks: WebhookEntry[] | null = null;
    for (const [key, value] of this.#entries(node, prefix)) {
      const place = this.#place(prefix + key, value);
      const name = SETTING_NAMES.find(
        (name) => yamlName(name) === key || (SETTINGS[name].secret && yamlName(`${name}_FILE`) === key),
      );
      if (key === 'webhooks') webhooks = this.#webhooks(value, `${prefix}webhooks`);
      else if (key === 'pools' && top) continue;
      else if (name === undefined) this.#problems.push(`${place}: there is no such setting`);
      else if (!top && SETTINGS[name].scope === 'service')
        this.#problems.push(`${place}: not for one pool, only for all of them`);
      else if (texts.has(name)) this.#problems.push(`${place}: given twice, by itself and by a file`);
      else texts.set(name, this.#given(value, place, key !== yamlName(name)));
    }
    return { texts, webhooks };
  }

  #webhooks(node: unknown, prefix: string): WebhookEntry[] {
    if (!isSeq(node)) {
      this.#problems.push(`${this.#place(prefix, node)}: no list of endpoints`);
      return [];
    }
    return node.items.map((item, index) => {
      const place = this.#place(`${prefix}[${index}]`, item);
      const texts = new Map<string, Given>();
      const lists = new Map<string, readonly string[]>();
      for (const [key, value] of this.#entries(item, `${prefix}[${index}].`)) {
        const keyPlace = this.#place(`${prefix}[${index}].${key}`, value);
        const name = WEBHOOK_TEXTS.find((name) => name === key || (WEBHOOK_SECRETS.has(name) && `${name}File` === key));
        if (WEBHOOK_LISTS.has(key)) lists.set(key, this.#words(value, keyPlace));
        else if (name === undefined) this.#problems.push(`${keyPlace}: there is no such setting`);
        else if (texts.has(name)) this.#problems.push(`${keyPlace}: given twice, by itself and by a file`);
        else texts.set(name, this.#given(value, keyPlace, name !== key));
      }
      return { place, texts, lists };
    });
  }

  #given(node: unknown, place: string, isFile: boolean): Given {
    const text = isSeq(node) ? this.#words(node, place).join(',') : this.#text(node, place);
    if (!isFile || text === '') return { text, place };
    return readSecret(resolve(dirname(this.#path), text), place, this.#readFile, this.#problems);
  }

  #words(node: unknown, place: string): readonly string[] {
    if (isSeq(node)) return node.items.map((item) => this.#text(item, place));
    return this.#text(node, place)
      .split(',')
      .map((word) => word.trim())
      .filter((word) => word !== '');
  }

  /** As it is written, so that a number keeps all its digits; nothing, `~` and `null` are empty. */
  #text(node: unknown, place: string): string {
    if (node === null || node === undefined) return '';
    if (isScalar(node))
      return node.value === null
        ? ''
        : typeof node.value === 'string'
          ? node.value
          : (node.source ?? String(node.value));
    this.#problems.push(`${place}: no single value`);
    return '';
  }

  #entries(node: unknown, prefix: string): [string, unknown][] {
    if (node instanceof YAMLMap)
      return node.items.map(({ key, value }) => [isScalar(key) ? String(key.value) : String(key), value]);
    this.#problems.push(`${this.#place(prefix.replace(/\.$/, ''), node)}: no list of names and values`);
    return [];
  }

  /** `pools[1].pollInterval (feed.yaml:12)` */
  #place(path: string, node: unknown): string {
    const range = (node as Node | null | undefined)?.range;
    const line = range ? `:${this.#lines.linePos(range[0]).line}` : '';
    return path === '' ? `${this.#path}${line}` : `${path} (${this.#path}${line})`;
  }
}
