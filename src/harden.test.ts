import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
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
  const running: ChildProcess[] = [];

  before(async () => {
    executable = (await buildExecutable()).path;
    directory = await mkdtemp(join(tmpdir(), 'lacre-closed-'));
    marker = join(directory, 'marker');
    await writeFile(join(directory, 'evil.cjs'), `require('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');`);
    await writeFile(join(directory, 'evil.env'), `NODE_OPTIONS=--require ${join(directory, 'evil.cjs')}\n`);
    const bundle = fileURLToPath(new URL('../vectors/agent/bundle.pem', import.meta.url));
    const lines = [
      'trust_domain: lacre.test',
      'server: 127.0.0.1:1',
      `bundle: ${bundle}`,
      `data_dir: ${directory}/data`,
      `workload_socket: ${directory}/run/workload.sock`,
      `tpm: unix:${directory}/no-tpm`,
      `engine: { podman: { storage: ${directory}/storage, run: ${directory}/run } }`,
    ];
    await writeFile(join(directory, 'agent.yaml'), lines.join('\n'));
  });

  after(async () => {
    for (const child of running) child.kill('SIGKILL');
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  });

  function lacre(args: readonly string[], environment: Record<string, string> = {}) {
    const env = { PATH: '/usr/bin:/bin', ...environment };
    return spawnSync(executable, args, { env, encoding: 'utf8', cwd: directory, timeout: 20_000 });
  }

  /** A running agent: its server and its TPM are absent, so it goes on trying. */
  async function agent(environment: Record<string, string>): Promise<ChildProcess> {
    const env = { PATH: '/usr/bin:/bin', ...environment };
    const child = spawn(executable, ['agent', 'run', '--config', join(directory, 'agent.yaml')], {
      env,
      cwd: directory,
    });
    running.push(child);
    let said = '';
    child.stderr?.on('data', (text: Buffer) => {
      said += text.toString();
    });
    for (const started = Date.now(); !said.includes('the Workload API listens'); await sleep(20)) {
      assert.ok(Date.now() - started < 15_000 && child.exitCode === null, `the agent did not start: ${said}`);
    }
    return child;
  }

  async function end(child: ChildProcess): Promise<number | null> {
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    return ended;
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

  test('what runs has none of the variables in its environment, and maps no library that they name', async () => {
    const source = join(directory, 'provider.c');
    await writeFile(source, 'int OSSL_provider_init(void *a, void *b, void **c, void **d) { return 0; }\n');
    const library = join(directory, 'provider.so');
    assert.equal(spawnSync('gcc', ['-shared', '-fPIC', '-o', library, source]).status, 0);
    const openssl = join(directory, 'openssl.cnf');
    const head = ['nodejs_conf = n', 'openssl_conf = n', '[n]', 'providers = p', '[p]', 'default = d', 'evil = e'];
    const providers = ['[d]', 'activate = 1', '[e]', `module = ${library}`, 'activate = 1', ''];
    await writeFile(openssl, [...head, ...providers].join('\n'));
    const child = await agent({
      NODE_OPTIONS: `--require ${join(directory, 'evil.cjs')}`,
      NODE_EXTRA_CA_CERTS: join(directory, 'evil.pem'),
      NODE_TLS_REJECT_UNAUTHORIZED: '0',
      NODE_V8_COVERAGE: directory,
      OPENSSL_CONF: openssl,
      SSL_CERT_DIR: directory,
      UV_THREADPOOL_SIZE: '1',
      LD_PRELOAD: library,
      LACRE_AGENT_LOG_LEVEL: 'debug',
    });
    if (process.getuid?.() !== 0) {
      // It is not dumpable, so nobody but root looks into it: not even who started it.
      await assert.rejects(readFile(`/proc/${child.pid}/environ`), { code: 'EACCES' });
      assert.ok(!existsSync(marker));
      return;
    }
    const environment = (await readFile(`/proc/${child.pid}/environ`, 'utf8'))
      .split('\0')
      .filter((line) => line !== '');
    assert.deepEqual(environment.map((line) => line.split('=')[0]).sort(), ['LACRE_AGENT_LOG_LEVEL', 'PATH']);
    assert.ok(!(await readFile(`/proc/${child.pid}/maps`, 'utf8')).includes(library));
    assert.ok(!existsSync(marker));
    assert.equal(await end(child), 0);
  });

  test('SIGUSR1 opens no inspector and does not end the agent', async () => {
    const child = await agent({});
    child.kill('SIGUSR1');
    await sleep(500);
    assert.equal(child.exitCode, null);
    assert.equal(child.signalCode, null);
    const opened = await new Promise<boolean>((resolve) => {
      const probe = connect(9229, '127.0.0.1');
      probe.once('connect', () => resolve(true));
      probe.once('error', () => resolve(false));
    });
    assert.equal(opened, false);
    assert.equal(await end(child), 0);
  });
});
