/** The settings as `--help` and the reference page tell them. Pure. */
import { SETTING_NAMES, SETTINGS } from './settings-schema.ts';

/** For a terminal: name, default, description. */
export function settingsHelp(): string {
  const width = Math.max(...SETTING_NAMES.map((name) => name.length));
  const lines = SETTING_NAMES.map((name) => {
    const { description, default: standard } = SETTINGS[name];
    return `  ${name.padEnd(width)}  ${description}${standard === '' ? '' : ` (default: ${standard})`}`;
  });
  return [
    'Settings, from the environment:',
    ...lines,
    '',
    'Those that hold a secret may also be given as NAME_FILE, a file with the value. COGNITO_FEED_CONFIG names a YAML file with the',
    'same names in camelCase and a list `pools:` whose entries override them. Durations: 500ms, 30s, 10m, 24h, 7d. Empty: off.',
    '',
  ].join('\n');
}

const EMPTY = { off: 'off', default: 'the default', refused: 'refused' } as const;

/** The table of the settings reference. */
export function settingsMarkdown(): string {
  const rows = SETTING_NAMES.map((name) => {
    const { description, default: standard, secret, scope, empty } = SETTINGS[name];
    const cells = [`\`${name}\`${secret ? ` (or \`${name}_FILE\`)` : ''}`, standard === '' ? '' : `\`${standard}\``];
    return `| ${[...cells, scope === 'pool' ? 'yes' : 'no', EMPTY[empty], description].join(' | ')} |`;
  });
  return ['| setting | default | in `pools:` | empty | |', '| --- | --- | --- | --- | --- |', ...rows, ''].join('\n');
}
