import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { sha256, sha256Hex } from '../../bytes/sha256.ts';
import { cpio } from './cpio-fixture.ts';
import { hostFilesFromInitrd } from './initrd-files.ts';

function digests(initrd: Uint8Array): Record<string, string> {
  return Object.fromEntries(
    [...hostFilesFromInitrd(initrd).files].map(({ path, sha256: digest }) => [
      path,
      Buffer.from(digest).toString('hex'),
    ]),
  );
}

const hex = (text: string) => sha256Hex(new TextEncoder().encode(text));
const malformed = { code: 'appraisal.initrd.malformed' };

test('archives after each other, the last one compressed, as an initrd with microcode', () => {
  const early = cpio({ name: 'kernel/x86/microcode.bin', data: 'ucode' });
  const main = cpio(
    { name: './init', data: 'v1' },
    { name: 'init', data: 'v2' },
    { name: '/policy', data: 'measure func=BPRM_CHECK\n' },
  );
  const expected = {
    '/init': hex('v2'),
    '/kernel/x86/microcode.bin': hex('ucode'),
    '/policy': hex('measure func=BPRM_CHECK\n'),
  };
  for (const packed of [main, gzipSync(main), zstdCompressSync(main)]) {
    const initrd = new Uint8Array(Buffer.concat([early, Buffer.alloc(500 & ~3), packed]));
    assert.deepEqual(digests(initrd), expected);
    assert.equal(Buffer.from(hostFilesFromInitrd(initrd).policy ?? []).toString(), 'measure func=BPRM_CHECK\n');
  }
  assert.equal(hostFilesFromInitrd(new Uint8Array(early)).policy, undefined);
});

test('names of one file share its content, wherever it stands; symlinked folders are followed', () => {
  const linked = cpio(
    { name: 'a', inode: 7, links: 2 },
    { name: 'b', inode: 7, links: 2, data: 'shared' },
    { name: 'c', inode: 8, links: 2 },
  );
  assert.deepEqual(digests(linked), { '/a': hex('shared'), '/b': hex('shared'), '/c': hex('') });
  const first = cpio(
    { name: 'a', inode: 7, links: 2, data: '1' },
    { name: 'b', inode: 7, links: 2 },
    { name: 'c', inode: 7, data: 'own' },
    { name: 'd', inode: 7 },
  );
  assert.deepEqual(digests(first), { '/a': hex('1'), '/b': hex('1'), '/c': hex('own'), '/d': hex('') });
  const again = cpio({ name: 'e', inode: 7, links: 2, data: 'other' }, { name: 'f', inode: 7, links: 2 });
  assert.deepEqual(
    digests(Buffer.concat([first, again])),
    { '/a': hex('1'), '/b': hex('1'), '/c': hex('own'), '/d': hex(''), '/e': hex('other'), '/f': hex('other') },
    'each archive counts its files anew',
  );
  const folders = cpio(
    { name: 'usr/bin', mode: 0o040755 },
    { name: 'bin', mode: 0o120777, data: '../../usr/bin' },
    { name: 'bin/sh', data: 's' },
    { name: 'dev/console', mode: 0o020600 },
  );
  assert.deepEqual(digests(folders), { '/usr/bin/sh': hex('s') });
});

test('the root itself is no file; a folder or a device takes the place of a file', () => {
  for (const name of ['.', '/', './', '/.'])
    for (const mode of [0o100755, 0o040755])
      assert.deepEqual(digests(cpio({ name, mode }, { name: './a' }, { name: 'b/./c' })), {
        '/a': hex(''),
        '/b/c': hex(''),
      });
  for (const mode of [0o040755, 0o020600, 0o060600, 0o010600, 0o140755])
    assert.deepEqual(digests(cpio({ name: 'x' }, { name: 'x', mode }, { name: 'y' })), { '/y': hex('') });
});

test('a file has its permission bits, and its name as the list spells it', () => {
  const initrd = cpio(
    { name: 'a', mode: 0o104755 },
    { name: 'b', mode: 0o100640 },
    { name: 'caf\xc3\xa9' },
    { name: 'n\xfe o' },
  );
  assert.deepEqual(
    [...hostFilesFromInitrd(initrd).files].map(({ path, mode }) => [path, mode]),
    [
      ['/a', 0o4755],
      ['/b', 0o640],
      ['/caf\u00e9', 0o755],
      ['/n\\xfe_o', 0o755],
    ],
  );
});

test('what is no initrd is refused, and says why', () => {
  const good = cpio({ name: 'init', data: 'x'.repeat(100) });
  for (let length = 1; length < good.length - 3; length++)
    assert.throws(() => hostFilesFromInitrd(good.subarray(0, length)), malformed, `cut at ${length}`);
  assert.throws(() => hostFilesFromInitrd(Buffer.from('hello')), /no cpio archive/);
  assert.throws(() => hostFilesFromInitrd(Buffer.from('fd377a585a000000', 'hex')), /xz is not supported/);
  assert.throws(() => hostFilesFromInitrd(gzipSync(good).subarray(0, 60)), malformed);
  assert.throws(() => hostFilesFromInitrd(cpio({ name: '../etc/x' })), malformed);
  assert.throws(() => hostFilesFromInitrd(cpio({ name: 'x'.repeat(5000) })), malformed);
  assert.deepEqual(digests(new Uint8Array(16)), {});
});

test('bombs stop at their bound', () => {
  let bomb: Buffer = cpio({ name: 'init' });
  for (let i = 0; i < 70; i++) bomb = gzipSync(bomb);
  assert.throws(() => hostFilesFromInitrd(bomb), { code: 'appraisal.initrd.oversized' });
});

test('damage anywhere is refused or changes what is found, and never does anything else', () => {
  const good = cpio({ name: 'init', data: 'first' }, { name: 'policy', data: 'rules' });
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ change;
      try {
        hostFilesFromInitrd(bad);
      } catch (error) {
        assert.match(String((error as { code?: string }).code), /^appraisal\.(initrd|files|image)\./);
      }
    }),
    { numRuns: 2000 },
  );
});

test("the sealed sample's initrd holds the policy that its list names", () => {
  const folder = join(import.meta.dirname, '../../../vectors/appraisal/sealed');
  const initrd = readFileSync(join(folder, 'initrd.gz'));
  const { files, policy } = hostFilesFromInitrd(initrd);
  assert.deepEqual(Buffer.from(policy ?? []), readFileSync(join(folder, 'policy')));
  assert.deepEqual(digests(gunzipSync(initrd)), digests(initrd));
  assert.ok(files.has('/policy', Buffer.from(sha256(readFileSync(join(folder, 'policy')))).toString('hex')));
  assert.ok(files.get('/init'));
});
