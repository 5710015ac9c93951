import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttp2Server } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { imaPolicy } from '../ima/policy.ts';
import { Entry } from '../proto/spire/api/server/entry/v1/entry_pb.ts';
import { parseConfig } from '../server/config.ts';
import { type RunningServer, startServer } from '../server/server.ts';
import { AdminClient } from './admin-client.ts';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'lacre-cli-test-'));
let server: RunningServer;

before(async () => {
  const text = `trust_domain: example.org\nlisten: 127.0.0.1:0\nadmin: {socket: ${folder}/admin/admin.sock}\ndata_dir: ${folder}/data\nlog: {level: silent}\n`;
  await writeFile(join(folder, 'server.yaml'), text);
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

test('each refusal has a status and a code of its own and one sentence', async () => {
  const entry = [
    'entry',
    'create',
    '--spiffe-id',
    'spiffe://example.org/twice',
    '--parent-id',
    'spiffe://example.org/node',
  ];
  assert.equal((await lacre(...entry, '--selector', 'unix:uid:1')).status, 0);
  const cases: [number, string, string[], RegExp][] = [
    [2, 'cli.usage', ['entry', 'create'], /needs --spiffe-id/],
    [2, 'cli.usage', ['node', 'add'], /either --ek-sha256 or --ek-certificate/],
    [2, 'cli.server.invalid', ['node', 'add', '--ek-sha256', 'zz'], /hex/],
    [3, 'cli.server.refused', [...entry, '--selector', 'unix:uid:1'], /exist/],
    [4, 'cli.server.missing', ['why', 'nobody'], /nobody/],
    [4, 'cli.server.missing', ['image', 'delete', `sha256:${'0'.repeat(64)}`], /./],
    [4, 'cli.file.missing', ['image', 'approve', '/nonexistent/image.tar'], /no such file/],
    [
      5,
      'cli.server.unreachable',
      ['--socket', '/nonexistent/admin.sock', 'entry', 'list'],
      /no lacre server answers at/,
    ],
    [
      5,
      'cli.workload.unreachable',
      ['api', 'fetch', 'x509', '--workload-socket', '/nonexistent/w.sock'],
      /Workload API at/,
    ],
    [2, 'server.config.invalid', ['server', 'run', '--config', '/nonexistent.yaml'], /cannot be read/],
    [
      2,
      'server.config.invalid',
      ['server', 'run', '--config', join(folder, 'server.yaml'), '--no-such-setting', '1'],
      /--no-such-setting: there is no such setting/,
    ],
    [3, 'cli.prepare.incomplete', ['node', 'prepare', '--root', folder], /IMA policy/],
  ];
  for (const [status, code, args, sentence] of cases) {
    const ended = await lacre('--output', 'json', ...args);
    assert.equal(ended.status, status, `${args.join(' ')}: ${ended.stderr}`);
    const { error } = JSON.parse(ended.stderr.trim().split('\n').at(-1) ?? '');
    assert.equal(error.code, code, error.message);
    assert.match(error.message, sentence);
  }
});

test('usage that cannot be parsed is answered with a hint, not with a stack', async () => {
  for (const [args, hint] of [
    [['entry', 'creat'], /Did you mean create/],
    [['entry', 'create', '--selector', 'nocolon'], /a selector looks like/],
  ] as const) {
    const ended = await lacre(...args);
    assert.equal(ended.status, 2);
    assert.match(ended.stderr, hint);
    assert.doesNotMatch(ended.stderr, /\n\s+at /);
  }
});

test('what the server does not serve is cli.server.failed', async () => {
  using admin = new AdminClient(`${folder}/admin/admin.sock`);
  await assert.rejects(
    admin.call(() => admin.service(Entry).getAuthorizedEntries({})),
    { code: 'cli.server.failed' },
  );
});

test('a workload that is refused is told so, with status 3', async () => {
  const socket = join(folder, 'workload.sock');
  const api = createHttp2Server();
  api.on('stream', (stream) => {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '7', 'grpc-message': 'no identity issued' },
      { endStream: true },
    );
  });
  await new Promise<void>((resolve) => api.listen(socket, resolve));
  try {
    const ended = await lacre('--output', 'json', 'api', 'fetch', 'x509', '--workload-socket', `unix://${socket}`);
    assert.equal(ended.status, 3, ended.stderr);
    assert.equal(JSON.parse(ended.stderr).error.code, 'cli.workload.refused');
    assert.match(ended.stderr, /no identity issued/);
  } finally {
    api.close();
  }
});

test('node prepare writes what can be written, whole, and finds it there the next time', async () => {
  const root = join(folder, 'root');
  await mkdir(join(root, 'etc'), { recursive: true });
  await writeFile(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\n');
  await writeFile(join(root, 'etc/subuid'), 'me:100000:65536\n');
  await mkdir(join(root, 'usr/lib/lacre'), { recursive: true });
  await writeFile(join(root, 'usr/lib/lacre/seal'), 'seal');
  const applied = await lacre('--output', 'json', 'node', 'prepare', '--root', root, '--apply');
  assert.equal(applied.status, 0, applied.stderr);
  const items = JSON.parse(applied.stdout) as { name: string; state: string; need: string }[];
  const unknown = items.filter(({ state }) => state !== 'there').map(({ name, state }) => `${name} ${state}`);
  assert.deepEqual(unknown, ['hook of the initrd unknown', 'initrd unknown'], 'there is no generator in this root');
  assert.match((await lacre('node', 'prepare', '--root', root)).stdout, /host:standard +nothing is missing here/);
  assert.equal(await readFile(join(root, 'etc/lacre/ima-policy'), 'utf8'), imaPolicy());
  assert.equal(await readFile(join(root, 'etc/subuid'), 'utf8'), 'me:100000:65536\ncontainers:200000:20000000\n');
  const again = await lacre('--output', 'json', 'node', 'prepare', '--root', root);
  assert.equal(again.status, 0);
  assert.ok(JSON.parse(again.stdout).every((item: { written: boolean }) => !item.written));
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
