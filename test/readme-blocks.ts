/** README.md in parts: its fenced blocks with what is said of them, and the sections that are made from the code. */
import { readFileSync } from 'node:fs';
import { COMMANDS } from '../services/cli/commands.ts';
import { errorTableMarkdown } from '../shared/errors.ts';
import { settingsMarkdown } from '../shared/settings-reference.ts';

export const README = new URL('../README.md', import.meta.url);

export interface Block {
  readonly language: string;
  readonly code: string;
  /** The HTML comment right before it, such as `needs AWS`; '' where there is none. */
  readonly mark: string;
  /** The first line's number in the file. */
  readonly line: number;
}

export function blocks(text = readFileSync(README, 'utf8')): Block[] {
  const fences = text.matchAll(/(?:^<!-- (?<mark>.*) -->\n)?^```(?<language>\w+)\n(?<code>[\s\S]*?)^```$/gm);
  return [...fences].map(({ groups: { mark = '', language = '', code = '' } = {}, index }) => {
    return { language, code, mark, line: text.slice(0, index).split('\n').length };
  });
}

const SECTIONS: Readonly<Record<string, () => string>> = {
  commands: commandsMarkdown,
  settings: settingsMarkdown,
  errors: errorTableMarkdown,
};

function commandsMarkdown(): string {
  const rows = COMMANDS.map(({ name, args, options = [], description }) => {
    const flags = options.map((option) => ` [${option.flags}]`).join('');
    return `| \`${name}${args === undefined ? '' : ` ${args}`}${flags}\` | ${description} |`;
  });
  return ['| command | |', '| --- | --- |', ...rows, ''].join('\n');
}

/** The text with its generated sections as the code has them now. @throws Error where one is not there */
export function withSections(text: string): string {
  return Object.entries(SECTIONS).reduce((rest, [name, make]) => {
    const section = new RegExp(`(<!-- generated: ${name} -->\n)[\\s\\S]*?(<!-- end of generated -->)`);
    if (!section.test(rest)) throw new Error(`README.md has no section for ${name}`);
    return rest.replace(section, (_, begin: string, end: string) => `${begin}${make()}${end}`);
  }, text);
}
