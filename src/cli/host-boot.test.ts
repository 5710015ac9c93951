import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
const vector = (name: string) => fileURLToPath(new URL(`../../vectors/boot/${name}`, import.meta.url));
let folder = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lacre-host-boot-'));
});
after(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the real program; no server is there. */
function lacre(...args: string[]): Promise<Ended> {
  const env = { PATH: process.env['PATH'], LACRE_ADMIN_SOCKET: `${folder}/none.sock`, NODE_NO_WARNINGS: '1' };
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { env, timeout: 30_000 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

test('what is learnt of a boot accepts it, and refuses another one with its findings', async () => {
  const { commandLine } = JSON.parse(await readFile(vector('ovmf-sealed.json'), 'utf8'));
  const out = join(folder, 'boot.json');
  const log = vector('ovmf-sealed.log');
  const learn = ['host', 'learn', '--name', 'sealed', '--event-log', log, '--command-line', commandLine];
  const learnt = await lacre(...learn, '--out', out);
  assert.equal(learnt.status, 0, learnt.stderr);
  assert.equal((await lacre(...learn, '--out', out)).status !== 0, true, 'a file is never overwritten');
  const good = await lacre('host', 'check', '--event-log', log, '--boot', out, '--output', 'json');
  assert.equal(good.status, 0, good.stdout);
  const verdict = JSON.parse(good.stdout);
  assert.deepEqual([verdict.accepted, verdict.bank, verdict.commandLine], [true, 'sha256', commandLine]);
  const other = await lacre('host', 'check', '--event-log', vector('ovmf-podman-trixie.log'), '--boot', out);
  assert.equal(other.status, 3);
  assert.match(other.stdout, /fails {2}boot\.kernel\.unknown/);
  assert.match(other.stdout, /the boot would be refused \(bank sha256\)/);
});

test('without a command line, learning says that none was recognised', async () => {
  const { status, stderr, stdout } = await lacre(
    'host',
    'learn',
    '--name',
    'x',
    '--event-log',
    vector('ovmf-sealed.log'),
  );
  assert.equal(status, 0);
  assert.match(stderr, /no command line was recognised/);
  assert.equal(JSON.parse(stdout).name, 'x');
});

test('events are shown with what their digests confirm', async () => {
  const { stdout } = await lacre('host', 'events', vector('ovmf-sealed.log'), '--output', 'json');
  const rows = JSON.parse(stdout) as { pcr: number; text: string; confirmed: boolean }[];
  assert.ok(rows.some(({ pcr, text, confirmed }) => pcr === 7 && text === 'SecureBoot = 0' && confirmed));
  assert.ok(rows.some(({ pcr, confirmed }) => pcr === 9 && !confirmed));
  assert.match((await lacre('host', 'events', vector('ovmf-sealed.log'))).stdout, /SecureBoot = 0/);
});

test('wrong use is told: no file, no reference values, both sources, no server', async () => {
  const log = vector('ovmf-sealed.log');
  const broken = join(folder, 'broken.json');
  await writeFile(broken, '{"kernelSha256": 7}');
  for (const [args, status, pattern] of [
    [['events', join(folder, 'absent.log')], 4, /cannot be read/],
    [['events', broken], 2, /boot\.log\.malformed/],
    [['check', '--event-log', log, '--boot', broken], 2, /holds no reference values/],
    [['check', '--event-log', log], 2, /either --host or --boot/],
    [['check', '--event-log', log, '--host', 'x'], 5, /server/],
  ] as const) {
    const ended = await lacre('host', ...args);
    assert.equal(ended.status, status, `${args.join(' ')}: ${ended.stderr}`);
    assert.match(ended.stderr, pattern);
  }
});
