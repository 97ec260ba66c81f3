/** A Dockerfile, read and followed without Docker: each stage is a folder that stands for its root. */
import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Instruction {
  /** In capitals. */
  readonly name: string;
  /** The rest, its continued lines joined and its variables replaced. */
  readonly text: string;
}

export interface Stage {
  readonly name: string;
  /** An image, or another stage's name. */
  readonly base: string;
  readonly instructions: readonly Instruction[];
}

/** @throws Error for an instruction that the follower does not know: it could not vouch for it */
export function parseDockerfile(source: string): Stage[] {
  const lines = source
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n');
  const args = new Map<string, string>();
  const stages: { name: string; base: string; instructions: Instruction[] }[] = [];
  for (const line of lines.filter((it) => it.trim() !== '')) {
    const [, name = '', raw = ''] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
    const text = raw.replaceAll(/\$\{(\w+)\}/g, (_, variable: string) => args.get(variable) ?? '');
    if (!KNOWN.includes(name)) throw new Error(`the follower does not know ${name}`);
    if (name === 'ARG') {
      const [variable = '', standard = ''] = text.split('=');
      args.set(variable, standard);
    } else if (name === 'FROM') {
      const [, base = '', stage = String(stages.length)] = /^(\S+)(?:\s+AS\s+(\S+))?$/.exec(text) ?? [];
      stages.push({ name: stage, base, instructions: [] });
    } else stages.at(-1)?.instructions.push({ name, text });
  }
  return stages;
}

const KNOWN = ['ARG', 'FROM', 'WORKDIR', 'COPY', 'RUN', 'ENV', 'LABEL', 'EXPOSE', 'USER', 'ENTRYPOINT', 'CMD'];

/** What a container of the stage would start with. */
export interface Built {
  /** Stands for `/`. */
  readonly root: string;
  readonly workdir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
}

export interface Context {
  /** The checkout. */
  readonly folder: string;
  /** What .dockerignore lets through. */
  readonly files: readonly string[];
}

/** Builds a stage and those it is made of, each once. */
export class Builder {
  readonly #stages: readonly Stage[];
  readonly #context: Context;
  readonly #folder: string;
  readonly #built = new Map<string, Promise<Built>>();

  /** @param folder an empty one */
  constructor(stages: readonly Stage[], context: Context, folder: string) {
    this.#stages = stages;
    this.#context = context;
    this.#folder = folder;
  }

  build(name: string): Promise<Built> {
    const known = this.#built.get(name) ?? this.#build(name);
    this.#built.set(name, known);
    return known;
  }

  async #build(name: string): Promise<Built> {
    const stage = this.#stages.find((it) => it.name === name);
    if (stage === undefined) throw new Error(`there is no stage ${name}`);
    const root = join(this.#folder, name);
    const base = this.#stages.some((it) => it.name === stage.base) ? await this.build(stage.base) : null;
    await mkdir(join(root, 'usr/local/bin'), { recursive: true });
    // Links, not copies: the base's modules are 400 MB.
    if (base !== null) await run('cp', ['-Rl', `${base.root}/.`, root]);
    let built: Built = { ...(base ?? EMPTY), root };
    for (const instruction of stage.instructions) built = await this.#follow(instruction, built);
    return built;
  }

  async #follow({ name, text }: Instruction, built: Built): Promise<Built> {
    switch (name) {
      case 'WORKDIR':
        await mkdir(join(built.root, text), { recursive: true });
        return { ...built, workdir: text };
      case 'COPY':
        await this.#copy(text, built);
        return built;
      case 'RUN':
        await this.#run(text, built);
        return built;
      case 'ENV':
        return { ...built, env: { ...built.env, ...pairs(text) } };
      case 'LABEL':
        return { ...built, labels: { ...built.labels, ...pairs(text) } };
      case 'USER':
        return { ...built, user: text };
      case 'ENTRYPOINT':
        return { ...built, entrypoint: JSON.parse(text) as string[], cmd: [] };
      case 'CMD':
        return { ...built, cmd: JSON.parse(text) as string[] };
      default:
        return built;
    }
  }

  async #copy(text: string, built: Built): Promise<void> {
    const from = /^--from=(\S+)\s+/.exec(text);
    const words = text.slice(from?.[0].length ?? 0).split(/\s+/);
    const to = words.pop() ?? '';
    const target = (name: string) =>
      join(built.root, posix.resolve(built.workdir, to.endsWith('/') ? posix.join(to, posix.basename(name)) : to));
    for (const word of words) {
      if (from !== null) {
        const other = await this.build(from[1] ?? '');
        await cp(join(other.root, word), target(word), { recursive: true, verbatimSymlinks: true });
        continue;
      }
      const files = this.#context.files.filter(
        (file) => file === word || file.startsWith(`${word.replace(/^\.\//, '')}/`),
      );
      if (files.length === 0) throw new Error(`COPY ${word}: .dockerignore lets nothing of it through`);
      for (const file of files) {
        const place = join(target(word), file.slice(word.length));
        await mkdir(dirname(place), { recursive: true });
        await cp(join(this.#context.folder, file), place);
      }
    }
  }

  async #run(text: string, { root, workdir, env }: Built): Promise<void> {
    // The folders of the image that a step may name; the machine's own are not touched.
    const here = text.replaceAll(/(?<=\s)\/(app|usr\/local\/bin)(?=\/|\s|$)/g, `${root}/$1`);
    if (/(?<=\s)\/(?!tmp\/)/.test(here.replaceAll(root, 'stage:'))) throw new Error(`RUN ${text}: outside the stage`);
    const options = { cwd: join(root, workdir), env: { ...cleanEnvironment(), ...env }, maxBuffer: 16 * 1024 * 1024 };
    await run('sh', ['-ec', here], options);
  }
}

const EMPTY: Omit<Built, 'root'> = { workdir: '/', env: {}, labels: {}, user: '', entrypoint: [], cmd: [] };

/** Of this process's environment what a container's build has too. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) =>
    /^(PATH|HOME|TMPDIR|SSL_|NODE_EXTRA|npm_config_(registry|cafile))/i.test(name),
  );
  return Object.fromEntries(kept);
}

const pairs = (text: string): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/([\w.]+)=(?:"([^"]*)"|(\S+))/g)].map(([, name = '', quoted, bare]) => [
      name,
      quoted ?? bare ?? '',
    ]),
  );

/** Whether a path is left out, as Docker reads .dockerignore: the last line that matches it, or a folder it is in, counts. */
export function ignores(dockerignore: string, path: string): boolean {
  const parts = path.split('/');
  const parents = parts.map((_, i) => parts.slice(0, i + 1).join('/'));
  let ignored = false;
  for (const line of dockerignore.split('\n').map((it) => it.trim())) {
    if (line === '' || line.startsWith('#')) continue;
    const pattern = globOf(line.replace(/^!/, ''));
    if (parents.some((parent) => pattern.test(parent))) ignored = !line.startsWith('!');
  }
  return ignored;
}

/** `*` within one name, `**` over folders: what our .dockerignore uses of Docker's patterns. */
const globOf = (pattern: string): RegExp => {
  const parts = pattern
    .split(/(\*\*\/|\*)/)
    .map((part) => GLOBS[part] ?? part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('')}$`);
};
const GLOBS: Readonly<Record<string, string>> = { '**/': '(?:.*/)?', '*': '[^/]*' };

/** The files of a checkout that a build would be sent. */
export async function contextOf(folder: string): Promise<Context> {
  const dockerignore = await readFile(join(folder, '.dockerignore'), 'utf8');
  const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: folder,
  });
  const files: string[] = [];
  for (const file of stdout.split('\0').filter((it) => it !== '' && !ignores(dockerignore, it)))
    if (
      await stat(join(folder, file)).then(
        (it) => it.isFile(),
        () => false,
      )
    )
      files.push(file);
  return { folder, files };
}

/** Lets another user, as the image's is, look into a folder that mkdtemp made. */
export const letEverybodyIn = (folder: string): Promise<void> => chmod(folder, 0o755);
