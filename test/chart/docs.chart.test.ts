/** docs/kubernetes.md: what can be run without a cluster is run; the rest is marked, and names what the chart makes. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { migrate } from '../../services/writer/migrate.ts';
import { withClient } from '../../shared/postgres.ts';
import { checkMigrations, checkWriterDatabase } from '../../shared/postgres-check.ts';
import { connected } from '../fresh-database.ts';
import { type Block, blocks } from '../readme-blocks.ts';
import { createDatabase, type Database } from '../servers/database.ts';
import { type PostgresServer, startPostgres } from '../servers/postgres.ts';
import { CHART, environmentOf, helm, type Manifest, NAMESPACE, podOf } from './helm.ts';
import { KUBERNETES } from './tools.ts';

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
const PAGE = blocks(readFileSync(`${CHECKOUT}docs/kubernetes.md`, 'utf8'));
const marked = (mark: string): Block => {
  const block = PAGE.find((it) => it.mark === mark);
  if (block === undefined) throw new Error(`there is no block marked ${mark}`);
  return block;
};

describe('docs/kubernetes.md', () => {
  it('marks every block by what it needs, or what it is', () => {
    const marks = [
      'needs Docker',
      'needs AWS',
      'needs a cluster',
      'as an administrator',
      'policy',
      'my-values.yaml',
      'after uninstalling',
    ];
    expect(PAGE.filter(({ mark }) => !marks.includes(mark)).map(({ line }) => line)).toEqual([]);
    expect(new Set(PAGE.map(({ mark }) => mark))).toEqual(new Set(marks));
  });

  it('has values that render what its commands name', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'values-'));
    await writeFile(join(folder, 'my-values.yaml'), marked('my-values.yaml').code);
    const commands = PAGE.filter(({ mark }) => mark === 'needs a cluster').flatMap(({ code }) =>
      code.replaceAll('\\\n', ' ').trim().split('\n'),
    );
    const helms = commands.filter((line) => line.startsWith('helm ') && line.includes('my-values.yaml'));
    expect(helms).toHaveLength(2);
    for (const line of helms) {
      const [, release, chart, ...flags] = /^helm upgrade(?: --install)? (\S+) (\S+) (.*)$/.exec(line) ?? [];
      const values = (flags[0] ?? '').replace('my-values.yaml', join(folder, 'my-values.yaml')).split(' ');
      const text = await helm(
        'template',
        release ?? '',
        join(CHECKOUT, chart ?? ''),
        ...values,
        '--kube-version',
        KUBERNETES,
      );
      const names = [...text.matchAll(/^kind: (\w+)\nmetadata:\n {2}name: (\S+)/gm)].map(
        ([, kind, name]) => `${kind?.toLowerCase()}/${name}`,
      );
      const named = [
        ...`${commands.join('\n')}\n${readFileSync(`${CHECKOUT}docs/kubernetes.md`, 'utf8')}`.matchAll(
          /\b(deployment|job|service)\/[-\w]+/g,
        ),
      ].map(([name]) => name);
      expect(named.filter((name) => !names.includes(name))).toEqual([]);
      expect(names).toContain('serviceaccount/cognito-feed-poller');
      // Every Secret and ConfigMap that it needs is made in step 4.
      const made = commands.map((line) => /create (?:secret generic|configmap) (\S+)/.exec(line)?.[1]);
      const documents = text
        .split(/^---$/m)
        .map((document) => parse(document))
        .filter((it) => it !== null) as Manifest[];
      const own = documents.filter(({ kind }) => kind === 'ConfigMap').map(({ metadata }) => metadata.name);
      for (const service of ['poller', 'writer', 'migrate']) {
        const pod = podOf(documents, service);
        const secrets = [...environmentOf(pod).values()].flatMap(({ valueFrom }) => valueFrom?.secretKeyRef.name ?? []);
        const volumes = pod.spec.volumes.flatMap(
          ({ configMap, secret }: Manifest) => configMap?.name ?? secret?.secretName ?? [],
        );
        expect([...secrets, ...volumes].filter((name) => !made.includes(name) && !own.includes(name))).toEqual([]);
      }
    }
    await rm(folder, { recursive: true });
    expect(commands.filter((line) => !/^(helm|kubectl) /.test(line))).toEqual([]);
    expect(NAMESPACE).not.toBe('');
  });

  it('asks for what the poller does at Cognito, and no more', () => {
    const actions = JSON.parse(marked('policy').code).Statement.flatMap(({ Action }: Manifest) => Action);
    const door = readFileSync(`${CHECKOUT}shared/cognito.ts`, 'utf8');
    const sent = new Set(
      [...door.matchAll(/\b(ListUsers|AdminGetUser|DescribeUserPool)(?=Command|\b)/g)].map(
        ([name]) => `cognito-idp:${name}`,
      ),
    );
    expect(actions.toSorted()).toEqual([...sent].toSorted());
  });

  it('builds the image that the values name', () => {
    const { image } = parse(marked('my-values.yaml').code);
    const { appVersion } = parse(readFileSync(`${CHART}Chart.yaml`, 'utf8'));
    expect(marked('needs Docker').code).toContain(`${image.repository}:${appVersion}`);
    expect(JSON.parse(readFileSync(`${CHECKOUT}package.json`, 'utf8')).version).toBe(appVersion);
  });
});

describe('its SQL', () => {
  let server: PostgresServer;
  let database: Database;
  beforeAll(async () => {
    server = await startPostgres({ major: 18 });
    database = await createDatabase(server.url());
  });
  afterAll(() => server?.stop());
  const sql = (mark: string) => marked(mark).code.replaceAll('database app', `database ${database.name}`);

  it('makes roles with which each service can do its work, and no more; uninstalling keeps the mirror', async () => {
    const admin = connected(database.url);
    await admin.query(sql('as an administrator'));
    const settings = { targets: [{ schema: 'cognito', name: 'users' }], publication: 'cognito_users', roles: false };
    const { warnings } = await migrate(connected(database.urlAs('feed_owner', 'choose-one')), settings);
    expect(warnings).toEqual([]);

    const writer = connected(database.urlAs('feed_writer', 'choose-another'));
    const check = await withClient(writer, (client) =>
      checkWriterDatabase(client, { schema: 'cognito', name: 'users' }, 'cognito_users'),
    );
    expect(check.warnings).toEqual([]);
    await expect(writer.query('drop table cognito.users')).rejects.toMatchObject({ code: '42501' });

    const publisher = connected(database.urlAs('feed_publisher', 'and-another'));
    await withClient(publisher, checkMigrations);
    await publisher.query('select from cognito_feed.changes');
    await expect(publisher.query('select from cognito.users')).rejects.toMatchObject({ code: '42501' });

    await admin.query("insert into cognito.users (username) values ('kept')");
    await admin.query(sql('after uninstalling'));
    const { rows } = await admin.query('select username from cognito.users');
    expect(rows).toEqual([{ username: 'kept' }]);
  });
});
