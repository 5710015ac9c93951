import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { flattenImage, type OciSource } from './flatten-image.ts';
import { FLATTEN_LIMITS } from './flatten-limits.ts';
import {
  dir,
  file,
  filesOf,
  headerOf,
  imageOf,
  imageOfTars,
  none,
  symlink,
  type TarName,
  tarOf,
} from './image-fixture.ts';

const malformed = { code: 'appraisal.image.malformed' };
const pathFault = { code: 'appraisal.image.path' };
const pax = (key: string, value: string, header: Partial<TarName[0]> = {}): TarName => [
  { name: 'x', ...header, pax: { [key]: value } },
  header.type === 'symlink' ? '' : '1',
];

test('a whiteout may carry bytes, which are passed over', async () => {
  assert.deepEqual(await filesOf([file('a', '1')], [file('.wh.a', 'x'.repeat(100_000)), file('b', '2')]), {
    '/b': '2',
  });
});

test('a whiteout hides in its own folder', async () => {
  const lower = [file('b', '1'), file('d/b', '2'), file('d/e/b', '3')];
  assert.deepEqual(await filesOf(lower, [file('d/.wh.b', '')]), { '/b': '1', '/d/e/b': '3' });
  assert.deepEqual(await filesOf(lower, [file('d/e/.wh..wh..opq', '')]), { '/b': '1', '/d/b': '2' });
  for (const left of ['.wh..wh.aufs', '.wh..wh.plnk', '.wh..wh.orph', '.wh..wh.'])
    assert.deepEqual(await filesOf([file('aufs', '1')], [file(left, '')]), { '/aufs': '1' }, left);
});

test('a device of a lower layer can be hidden, and a folder take its place', async () => {
  const device: TarName = [{ name: 'x', type: 'fifo' }];
  assert.deepEqual(await filesOf([device], [file('.wh.x', ''), file('x/a', '1')]), { '/x/a': '1' });
});

test('what is no file has one path, also over a symlink of a lower layer', async () => {
  const lower = [dir('usr/bin'), symlink('bin', 'usr/bin'), file('usr/bin/a', '1')];
  assert.deepEqual(await filesOf(lower, [symlink('bin/b', 'a')]), { '/usr/bin/a': '1' });
});

test('contiguous files are files', async () => {
  assert.deepEqual(Object.keys(await headerOf(file('a', '1'), (tar) => tar.write('7', 156, 'latin1'))), ['/a']);
});

test('a size below zero is refused', { timeout: 10_000 }, async () => {
  const minusOne = (tar: Buffer) => tar.fill(0xff, 124, 135).fill(0xfe, 135, 136);
  await assert.rejects(headerOf(file('a', '1'), minusOne), malformed);
});

test('a name or link of a pax header counts where it is not empty, and holds no zero', async () => {
  assert.deepEqual(await filesOf([pax('path', 'y')]), { '/y': '1' });
  // Below a pax header tar-stream writes "PaxHeader" as name and link.
  assert.deepEqual(await filesOf([pax('path', '')]), { '/PaxHeader': '1' });
  await assert.rejects(filesOf([pax('path', 'a\0b')]), pathFault);
  const link = { type: 'symlink', linkname: 'd' } as const;
  assert.deepEqual(await filesOf([dir('PaxHeader'), pax('linkpath', '', link), file('x/f', '2')]), {
    '/PaxHeader/f': '2',
  });
});

test('a name and a link are shorter than the bound of a path', async () => {
  const limited = async (...names: TarName[]) => {
    const image = await flattenImage(await imageOf([names]), { ...FLATTEN_LIMITS, pathBytes: 20 });
    return [...image.files].map(({ path }) => path);
  };
  assert.deepEqual(await limited(file(`${'/'.repeat(18)}a`, '1')), ['/a']);
  await assert.rejects(limited(file(`${'/'.repeat(19)}a`, '1')), pathFault);
  assert.deepEqual(await limited(symlink('l', `d${'/'.repeat(18)}`), file('l/a', '1')), ['/d/a']);
  await assert.rejects(limited(symlink('l', `d${'/'.repeat(19)}`), file('l/a', '1')), pathFault);
});

test('users are looked up in a table of up to 1 MiB', async () => {
  const userOf = async (bytes: number) => {
    const table = 'app:x:1:2:::\n'.padEnd(bytes, '#');
    return (await flattenImage(await imageOf([[file('etc/passwd', table)]], { process: { User: 'app' } }))).user;
  };
  assert.equal(await userOf(1024 * 1024), '1:2');
  assert.equal(await userOf(1024 * 1024 + 1), 'app');
});

test('a layer that is refused is left, and its source closed first', { timeout: 20_000 }, async () => {
  const tar = await tarOf([file('a/../b', '1'), file('c', 'x'.repeat(2_000_000))]);
  for (const [pack, code] of [
    [none, 'appraisal.image.path'],
    [(bytes: Uint8Array) => new Uint8Array(gzipSync(bytes, { level: 0 })), 'appraisal.image.path'],
  ] as const) {
    const source = imageOfTars([tar], {}, pack);
    let closed = false;
    let taken = 0;
    const watched: OciSource = {
      ...source,
      async *openLayer(digest) {
        try {
          for await (const chunk of source.openLayer(digest)) {
            taken += chunk.length;
            yield chunk;
          }
        } finally {
          closed = true;
        }
      },
    };
    await assert.rejects(flattenImage(watched), { code });
    assert.ok(closed);
    assert.ok(taken < 1_000_000, `${taken} bytes taken`);
  }
});
