import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { imaPolicy } from '../ima/policy.ts';
import { hostReference } from './host-reference.ts';
import { applyItem, missingFor, type PreparedItem, preparationItems } from './preparation.ts';
import { commandLineItems, toolsItem } from './preparation-boot.ts';

const POOL = 200_000;
const root = await mkdtemp(join(tmpdir(), 'lacre-prepare-'));
after(() => rm(root, { recursive: true }));
await mkdir(join(root, 'etc/initramfs-tools'), { recursive: true });
await mkdir(join(root, 'usr/lib/lacre'), { recursive: true });
await mkdir(join(root, 'boot'));
await writeFile(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\n');

const items = () => preparationItems(root, POOL);
const stateOf = (list: readonly PreparedItem[], name: string) => list.find((item) => item.name === name)?.state;

/** A newc archive; path → content. */
function initrd(files: Readonly<Record<string, string>>): Buffer {
  const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
  return Buffer.concat(
    Object.entries({ ...files, 'TRAILER!!!': '' }).map(([name, data]) => {
      const fields = [0, 0o100755, 0, 0, 1, 0, Buffer.byteLength(data), 0, 0, 0, 0, name.length + 1, 0];
      const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
      return Buffer.concat([padded(Buffer.from(header)), padded(Buffer.from(data))]);
    }),
  );
}

test('a Debian node: what can be written is, the rest is named with what it is needed for', async () => {
  const before = await items();
  assert.deepEqual(missingFor(before, 'host:standard'), [
    'IMA policy',
    'first program of the initrd',
    'hook of the initrd',
  ]);
  assert.deepEqual(missingFor(before, 'containers'), ['kernel settings', '/etc/subuid', '/etc/subgid']);
  for (const item of before) await applyItem(item);
  assert.deepEqual(missingFor(await items(), 'host:standard'), ['first program of the initrd']);
  await writeFile(join(root, 'usr/lib/lacre/seal'), 'seal');
  const done = await items();
  assert.deepEqual([...missingFor(done, 'host:standard'), ...missingFor(done, 'containers')], []);
  const hook = join(root, 'etc/initramfs-tools/hooks/lacre');
  assert.equal((await stat(hook)).mode & 0o777, 0o755);
  assert.match(await readFile(hook, 'utf8'), /cp \/etc\/lacre\/ima-policy "\$DESTDIR\/policy"/);
});

test('the initrd is looked into: the policy, and the program that loads it', async () => {
  const policy = imaPolicy(POOL);
  const cases: [Buffer, string][] = [
    [initrd({ init: 'a shell' }), 'missing'],
    [initrd({ init: 'a shell', policy: 'dont_measure\n', 'lacre/seal': 'seal' }), 'missing'],
    [initrd({ init: 'a shell', policy }), 'missing'],
    [initrd({ init: 'a shell', policy, 'lacre/seal': 'another' }), 'missing'],
    [initrd({ init: 'a shell', policy, 'lacre/seal': 'seal' }), 'there'],
    [initrd({ init: 'seal', policy }), 'there'],
    [Buffer.from('not an initrd'), 'unknown'],
  ];
  for (const [bytes, state] of cases) {
    await writeFile(join(root, 'boot/initrd.img-6.12'), bytes);
    assert.equal(stateOf(await items(), 'initrd'), state, bytes.subarray(0, 200).toString());
  }
});

test('the command line: what standard takes, what sealed takes', () => {
  const standard = 'lockdown=integrity sysctl.kernel.kexec_load_disabled=1 rdinit=/lacre/seal';
  const of = (line: string | undefined, startsItself = false) => {
    const list = commandLineItems(line, { startsItself });
    return [missingFor(list, 'host:standard').length, missingFor(list, 'host:sealed').length];
  };
  assert.deepEqual(of('quiet'), [3, 2]);
  assert.deepEqual(of('quiet', true), [2, 2], 'an initrd whose /init loads the policy needs no word');
  assert.deepEqual(of(standard), [0, 2]);
  const verity = `roothash=${'0'.repeat(64)}`;
  assert.deepEqual(of(`${standard} sysctl.kernel.yama.ptrace_scope=3 ${verity}`), [0, 0]);
  assert.deepEqual(of(undefined), [0, 0], 'unknown, not missing');
});

test('tools that ran are named from the list', async () => {
  const list = await readFile(
    join(import.meta.dirname, '../../vectors/appraisal/podman-good/binary_runtime_measurements'),
  );
  const item = toolsItem(list);
  assert.equal(item.state, 'missing');
  assert.match(item.seen, /podman/);
  assert.equal(toolsItem(new Uint8Array()).state, 'there');
  const ofAnotherPcr = Buffer.from(list);
  ofAnotherPcr.writeUInt32LE(99);
  assert.equal(toolsItem(ofAnotherPcr).state, 'unknown');
  assert.equal(toolsItem(undefined).state, 'unknown');
});

test('an initrd with the program beside another /init is approved only with a command line that starts it', async () => {
  const bytes = initrd({ init: 'a shell', policy: imaPolicy(POOL), 'lacre/seal': 'seal' });
  const approve = (commandLine: string[]) =>
    hostReference(
      {
        ...{ name: 'x', root: join(root, 'nowhere'), kernel: '', initrd: 'initrd', commandLine },
        ...{ eventLog: [], uidPoolBase: POOL, nextInit: '/sbin/init' },
      },
      { readFile: async () => bytes },
    );
  const starts = 'quiet rdinit=/lacre/seal';
  await assert.rejects(approve(['quiet']), { code: 'cli.file.invalid', message: /rdinit=\/lacre\/seal is wanted/ });
  await assert.rejects(approve([starts, 'quiet']), { code: 'cli.file.invalid' });
  await assert.rejects(approve([`${starts} rdinit=/init`]), { code: 'cli.file.invalid' });
  await assert.rejects(approve([starts]), { code: 'cli.file.missing' }, 'goes on to the root, which is not there');
});
