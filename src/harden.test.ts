import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { buildExecutable } from '../scripts/build-executable.ts';
import { bannedVariables, startClean } from './harden.ts';

test('what could change what runs or whom TLS believes is banned, nothing else', () => {
  const banned = [
    'NODE_OPTIONS',
    'NODE_EXTRA_CA_CERTS',
    'OPENSSL_CONF',
    'SSL_CERT_FILE',
    'UV_THREADPOOL_SIZE',
    'LD_PRELOAD',
  ];
  const kept = { PATH: '/bin', LACRE_AGENT_TPM: 'x', NOTIFY_SOCKET: '/run/n', LANG: 'C', XNODE_OPTIONS: '' };
  assert.deepEqual(bannedVariables({ ...Object.fromEntries(banned.map((name) => [name, ''])), ...kept }), banned);
});

test('where the process cannot be replaced by a clean one, it does not go on', () => {
  startClean({ PATH: '/bin' }, undefined);
  assert.throws(() => startClean({ PATH: '/bin', LD_PRELOAD: 'evil.so', NODE_OPTIONS: '' }, undefined), {
    code: 'agent.environment',
    message: 'these variables must not be set: LD_PRELOAD, NODE_OPTIONS',
  });
});

// A running agent: test/attacks/node-options-and-inspector-on-the-agent.test.ts
const tools = ['gcc', 'strip'].filter((name) => spawnSync(name, ['--version']).error !== undefined);
const skip =
  process.platform !== 'linux'
    ? 'the executable is of Linux'
    : tools.length > 0 && process.env['CI'] !== 'true'
      ? `${tools.join(' and ')} not installed`
      : false;

describe('the executable is closed', { skip }, () => {
  let directory: string;
  let executable: string;
  let marker: string;

  before(async () => {
    executable = (await buildExecutable()).path;
    directory = await mkdtemp(join(tmpdir(), 'lacre-closed-'));
    marker = join(directory, 'marker');
    await writeFile(join(directory, 'evil.cjs'), `require('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');`);
    await writeFile(join(directory, 'evil.env'), `NODE_OPTIONS=--require ${join(directory, 'evil.cjs')}\n`);
  });

  after(async () => {
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  });

  function lacre(args: readonly string[], environment: Record<string, string> = {}) {
    const env = { PATH: '/usr/bin:/bin', ...environment };
    return spawnSync(executable, args, { env, encoding: 'utf8', cwd: directory, timeout: 20_000 });
  }

  test('it runs', () => {
    const { stdout, status } = lacre(['--version']);
    assert.equal(status, 0);
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test('the same attack on plain node works: the marker can appear', async () => {
    const env = { PATH: '/usr/bin:/bin', NODE_OPTIONS: `--require ${join(directory, 'evil.cjs')}` };
    spawnSync(process.execPath, ['--version', '-e', '0'].slice(1), { env });
    await access(marker);
    await rm(marker);
  });

  for (const [name, args, environment] of [
    ['NODE_OPTIONS=--require', ['--version'], () => ({ NODE_OPTIONS: `--require ${join(directory, 'evil.cjs')}` })],
    ['NODE_OPTIONS=--import', ['--version'], () => ({ NODE_OPTIONS: `--import ${join(directory, 'evil.cjs')}` })],
    ['--env-file', ['--env-file=evil.env', '--version'], () => ({})],
    ['--env-file after the command', ['api', '--env-file=evil.env'], () => ({})],
    ['--require', ['--require', './evil.cjs', '--version'], () => ({})],
    ['-e', ['-e', 'require("fs").writeFileSync("marker", "ran")'], () => ({})],
    ['NODE_REPL_EXTERNAL_MODULE', ['--version'], () => ({ NODE_REPL_EXTERNAL_MODULE: join(directory, 'evil.cjs') })],
  ] as const) {
    test(`${name} runs no code`, () => {
      lacre(args, environment());
      assert.ok(!existsSync(marker));
    });
  }

  test('an argument does not open the inspector', () => {
    const { stderr } = lacre(['--inspect=127.0.0.1:0', '--version']);
    assert.ok(!stderr.includes('Debugger listening'), stderr);
    assert.ok(!lacre(['--version'], { NODE_OPTIONS: '--inspect=127.0.0.1:0' }).stderr.includes('Debugger listening'));
  });
});
