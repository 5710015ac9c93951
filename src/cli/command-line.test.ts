import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../server/config.ts';
import { type RunningServer, startServer } from '../server/server.ts';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'lacre-cli-test-'));
let server: RunningServer;

before(async () => {
  const text = `trust_domain: example.org\nlisten: 127.0.0.1:0\nadmin: {socket: ${folder}/admin/admin.sock}\ndata_dir: ${folder}/data\nlog: {level: silent}\n`;
  server = await startServer(parseConfig('test', text));
});
after(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the real program as its users do. */
function lacre(...args: string[]): Promise<Ended> {
  const env = { PATH: process.env['PATH'], LACRE_ADMIN_SOCKET: `${folder}/admin/admin.sock`, NODE_NO_WARNINGS: '1' };
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { env, timeout: 30_000 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

const ek = 'ab'.repeat(32);

test('an entry is created, listed, shown and deleted', async () => {
  const made = await lacre(
    ...[
      'entry',
      'create',
      '--output',
      'json',
      '--spiffe-id',
      'spiffe://example.org/orders',
      '--parent-id',
      'spiffe://example.org/node',
    ],
    ...['--selector', 'lacre:attribution:exact', '--selector', 'docker:label:app:orders', '--x509-svid-ttl', '120'],
  );
  assert.equal(made.status, 0, made.stderr);
  const { id, selectors, x509SvidTtlSeconds } = JSON.parse(made.stdout);
  assert.deepEqual(selectors.sort(), ['docker:label:app:orders', 'lacre:attribution:exact']);
  assert.equal(x509SvidTtlSeconds, 120);
  const listed = JSON.parse(
    (await lacre('entry', 'list', '--output', 'json', '--spiffe-id', 'spiffe://example.org/orders')).stdout,
  );
  assert.deepEqual(
    listed.map((entry: { id: string }) => entry.id),
    [id],
  );
  assert.match((await lacre('entry', 'show', id)).stdout, /spiffe:\/\/example\.org\/orders/);
  assert.equal((await lacre('entry', 'delete', id)).status, 0);
  const gone = await lacre('entry', 'show', id, '--output', 'json');
  assert.equal(gone.status, 4);
  assert.equal(JSON.parse(gone.stderr).error.code, 'cli.server.missing');
  assert.equal(gone.stdout, '');
});

test('a node is put into the inventory, found by the beginning of its EK, and deleted', async () => {
  assert.equal((await lacre('node', 'add', '--ek-sha256', ek, '--name', 'rack3-12')).status, 0);
  const [node] = JSON.parse((await lacre('node', 'list', '--output', 'json')).stdout);
  assert.equal(node.ekSha256, ek);
  assert.equal(node.state, 'expected');
  assert.match((await lacre('node', 'show', ek.slice(0, 12))).stdout, /rack3-12/);
  assert.match((await lacre('why', 'rack3-12')).stdout, /expected/);
  assert.equal((await lacre('node', 'delete', 'rack3-12')).status, 0);
  assert.deepEqual(JSON.parse((await lacre('node', 'list', '--output', 'json')).stdout), []);
});

test('each refusal has a status of its own and one sentence', async () => {
  const cases: [number, string[], RegExp][] = [
    [2, ['entry', 'create'], /needs --spiffe-id/],
    [2, ['entry', 'creat'], /Did you mean create/],
    [2, ['entry', 'create', '--selector', 'nocolon'], /a selector looks like/],
    [2, ['node', 'add', '--ek-sha256', 'zz'], /hex/],
    [2, ['node', 'add'], /either --ek-sha256 or --ek-certificate/],
    [4, ['why', 'nobody'], /nobody/],
    [4, ['image', 'delete', `sha256:${'0'.repeat(64)}`], /./],
    [4, ['image', 'approve', '/nonexistent/image.tar'], /no such file/],
    [5, ['--socket', '/nonexistent/admin.sock', 'entry', 'list'], /no lacre server answers at \/nonexistent/],
    [5, ['api', 'fetch', 'x509', '--workload-socket', '/nonexistent/w.sock'], /Workload API at/],
    [2, ['server', 'run', '--config', '/nonexistent.yaml'], /cannot be read/],
    [2, ['server', 'run', '--config', '/nonexistent.yaml', '--no-such-setting', '1'], /no setting|cannot be read/],
  ];
  for (const [status, args, sentence] of cases) {
    const ended = await lacre(...args);
    assert.equal(ended.status, status, `${args.join(' ')}: ${ended.stderr}`);
    assert.match(ended.stderr, sentence);
    assert.doesNotMatch(ended.stderr, /\n\s+at /, 'no stack for people');
  }
});

test('help has examples for every command, and completion knows the commands', async () => {
  const { buildProgram } = await import('./main.ts');
  const program = buildProgram('1.2.3');
  const visit = (command: typeof program, path: string): string[] => {
    const subs = command.commands.filter((sub) => !['complete', 'completion', 'help'].includes(sub.name()));
    if (subs.length > 0) return subs.flatMap((sub) => visit(sub, `${path} ${sub.name()}`));
    let text = '';
    command.configureOutput({ writeOut: (part) => (text += part) });
    command.outputHelp();
    return text.includes('Examples:') ? [] : [path];
  };
  assert.deepEqual(visit(program, 'lacre'), []);
  assert.match((await lacre('complete', '--', 'entry', 'cr')).stdout, /^create/m);
  assert.match((await lacre('completion', 'bash')).stdout, /bash completion for lacre/);
});

test('colour is for terminals, and the bundle is PEM that an agent can be pinned to', async () => {
  const { stdout } = await lacre('bundle', 'show');
  assert.match(stdout, /^-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\n$/);
  const list = await lacre('node', 'list');
  assert.ok(!list.stdout.includes('\u001b'));
});
