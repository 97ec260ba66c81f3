/** `/metrics` as Prometheus reads it. */
import { expect } from 'vitest';

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export class MetricsPage {
  readonly samples: readonly Sample[];
  readonly text: string;

  constructor(text: string) {
    this.text = text;
    this.samples = text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const [, name = '', labels = '', value = ''] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
        expect(name, line).not.toBe('');
        const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', text = '']) => [key, text]);
        return { name, labels: Object.fromEntries(pairs), value: Number(value) };
      });
  }

  static async scrape(port: number): Promise<MetricsPage> {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    return new MetricsPage(await answer.text());
  }

  /** The sum of a metric's samples that have these labels; undefined: there are none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const fitting = this.samples.filter(
      (sample) =>
        sample.name === `cognito_feed_${name}` &&
        Object.entries(labels).every(([label, text]) => sample.labels[label] === text),
    );
    return fitting.length === 0 ? undefined : fitting.reduce((sum, { value }) => sum + value, 0);
  }
}
