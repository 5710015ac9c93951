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
import { buildExecutable } from '../../scripts/build-executable.ts';
import { startClean } from '../../src/harden.ts';

// Root on the node (A2) makes the agent, whose executable is approved, run other code: by a variable that Node, OpenSSL or the dynamic
// linker obeys, or by the signal at which Node opens its inspector. Nothing of it would be in the kernel's list.

const BUNDLE = fileURLToPath(new URL('../../vectors/agent/bundle.pem', import.meta.url));
const INSPECTOR = 9229;
const tools = ['gcc', 'strip'].filter((name) => spawnSync(name, ['--version']).error !== undefined);
const skip = tools.length > 0 && process.env['CI'] !== 'true' ? `${tools.join(' and ')} not installed` : false;

describe('the packed agent runs its own code alone', { skip, concurrency: false }, () => {
  let directory: string;
  let executable: string;
  let marker: string;
  const running: ChildProcess[] = [];

  before(async () => {
    executable = (await buildExecutable()).path;
    directory = await mkdtemp(join(tmpdir(), 'lacre-closed-'));
    marker = join(directory, 'marker');
    await writeFile(join(directory, 'evil.cjs'), `require('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');`);
    const lines = [
      'trust_domain: lacre.test',
      'server: 127.0.0.1:1',
      `bundle: ${BUNDLE}`,
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

  test('a plain Node obeys: the variable runs code, the signal opens the inspector', async () => {
    const env = { PATH: '/usr/bin:/bin', NODE_OPTIONS: `--require ${join(directory, 'evil.cjs')}` };
    spawnSync(process.execPath, ['-e', '0'], { env });
    await access(marker);
    await rm(marker);
    const plain = spawn(process.execPath, ['--inspect-port=0', '-e', 'console.log(1); setTimeout(() => {}, 60000)']);
    running.push(plain);
    let said = '';
    plain.stderr.on('data', (text: Buffer) => {
      said += text.toString();
    });
    await new Promise((resolve) => plain.stdout.once('data', resolve));
    plain.kill('SIGUSR1');
    for (const started = Date.now(); !said.includes('Debugger listening'); await sleep(20))
      assert.ok(Date.now() - started < 15_000, said);
    plain.kill('SIGKILL');
  });

  test('what runs has none of the variables, and maps no library that they name', async () => {
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

  test('where it could not start itself anew without them, it does not go on', () => {
    assert.throws(() => startClean({ PATH: '/bin', NODE_OPTIONS: '--inspect' }, undefined), {
      code: 'agent.environment',
    });
  });

  test('SIGUSR1 opens no inspector and does not end the agent', async () => {
    const child = await agent({});
    for (let times = 0; times < 3; times += 1) child.kill('SIGUSR1');
    await sleep(500);
    assert.deepEqual([child.exitCode, child.signalCode], [null, null]);
    assert.equal(await answersAt(INSPECTOR), false);
    assert.equal(await end(child), 0);
  });
});

function answersAt(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1');
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
