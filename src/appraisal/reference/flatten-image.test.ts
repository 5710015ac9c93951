import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { sha256Hex } from '../../bytes/sha256.ts';
import { LacreError } from '../../lacre-error.ts';
import { FileTable } from './file-table.ts';
import { flattenImage, type OciSource } from './flatten-image.ts';
import { FLATTEN_LIMITS } from './flatten-limits.ts';
import {
  type Compression,
  dir,
  type Facts,
  file,
  filesOf,
  gzip,
  hardLink,
  headerOf,
  imageOf,
  imageOfTars,
  mendChecksum,
  type TarName as Name,
  none,
  symlink,
  tarOf,
} from './image-fixture.ts';
import { imageReferenceMessage, imageReferenceOf } from './image-reference.ts';

test('later layers replace, whiteouts and opaque folders hide lower layers only', async () => {
  const lower = [
    dir('etc/'),
    file('etc/a', 'a1'),
    file('etc/b', 'b1'),
    dir('opt/'),
    file('opt/x/y', 'y1'),
    file('var/log', 'l1'),
  ];
  const upper = [
    file('etc/a', 'a2'),
    file('etc/.wh.b', ''),
    file('opt/z', 'z2'),
    file('opt/.wh..wh..opq', ''),
    file('.wh.var', ''),
    file('var/new', 'n2'),
  ];
  assert.deepEqual(await filesOf(lower, upper), { '/etc/a': 'a2', '/opt/z': 'z2', '/var/new': 'n2' });
});

test('a whiteout of a file in its own layer hides nothing of that layer, before or after', async () => {
  assert.deepEqual(await filesOf([file('a', '1')], [file('.wh.a', ''), file('a', '2')]), { '/a': '2' });
  assert.deepEqual(await filesOf([file('a', '1')], [file('a', '2'), file('.wh.a', '')]), { '/a': '2' });
  assert.deepEqual(await filesOf([file('.wh.gone', ''), file('.wh..wh.plnk', '')], []), {});
});

test('the last of two equal names wins; folders, files and symlinks replace each other', async () => {
  assert.deepEqual(await filesOf([file('a', '1'), file('./a', '2'), file('/a', '3')]), { '/a': '3' });
  assert.deepEqual(await filesOf([file('d/x', '1'), file('d', '2')]), { '/d': '2' });
  assert.deepEqual(await filesOf([symlink('d', '/etc'), file('etc/x', '1')], [dir('d'), file('d/y', '2')]), {
    '/etc/x': '1',
    '/d/y': '2',
  });
});

test('symlinked folders are followed inside the root; over a lower symlink a file has both paths', async () => {
  const one = [dir('usr/bin'), symlink('bin', 'usr/bin'), file('bin/sh', 's')];
  assert.deepEqual(await filesOf(one), { '/usr/bin/sh': 's' });
  assert.deepEqual(await filesOf(one, [file('bin/new', 'n')]), {
    '/usr/bin/sh': 's',
    '/usr/bin/new': 'n',
    '/bin/new': 'n',
  });
});

test('a symlink never leads out of the root', async () => {
  for (const target of ['../../../../etc', '/etc', '/../../etc', 'x/../../etc']) {
    assert.deepEqual(
      await filesOf([dir('etc'), dir('x'), symlink('out', target), file('out/shadow', 's')]),
      { '/etc/shadow': 's' },
      target,
    );
  }
});

test('hard links show the file at both paths, and only files of the archive', async () => {
  assert.deepEqual(await filesOf([file('a', '1'), hardLink('b', 'a'), hardLink('c', '/./a')]), {
    '/a': '1',
    '/b': '1',
    '/c': '1',
  });
  await assert.rejects(filesOf([hardLink('b', '../../etc/shadow')]), { code: 'appraisal.image.path' });
  await assert.rejects(filesOf([hardLink('b', '/etc/shadow')]), { code: 'appraisal.image.malformed' });
  await assert.rejects(filesOf([dir('d'), hardLink('b', 'd')]), { code: 'appraisal.image.malformed' });
});

test('hostile names are refused', async () => {
  for (const name of ['../etc/passwd', 'a/../../b', 'a/..', 'x/../y']) {
    await assert.rejects(filesOf([file(name, 'x')]), { code: 'appraisal.image.path' }, name);
  }
  const pax = (key: string, value: string): Name => [{ name: 'a', pax: { [key]: value } }, 'x'];
  await assert.rejects(filesOf([pax('path', `/${'a/'.repeat(3000)}b`)]), { code: 'appraisal.image.path' });
  await assert.rejects(filesOf([pax('GNU.sparse.major', '1')]), { code: 'appraisal.image.malformed' });
  for (const name of ['.wh.', '.wh..', '.wh...', '.wh.a/b']) {
    await assert.rejects(filesOf([file(name, '')]), { code: 'appraisal.image.malformed' }, name);
  }
  await assert.rejects(filesOf([symlink('a', 'b'), symlink('b', 'a'), file('a/x', '')]), {
    code: 'appraisal.image.path',
  });
  await assert.rejects(filesOf([file('f', '1'), file('f/x', '2')]), { code: 'appraisal.image.malformed' });
});

test('a name may be the root itself only as a folder', async () => {
  assert.deepEqual(await filesOf([dir('./'), file('a', '1')], [dir('/'), file('.wh..wh..opq', '')]), {});
  for (const name of ['/', './', '.'])
    await assert.rejects(
      filesOf([[{ name, type: 'symlink', linkname: 'a' }]]),
      { code: 'appraisal.image.malformed' },
      name,
    );
  await assert.rejects(filesOf([file('a', '1'), hardLink('b', '/')]), { code: 'appraisal.image.malformed' });
});

test('devices and pipes are no files, and stand in the way of what lies below', async () => {
  for (const type of ['character-device', 'block-device', 'fifo'] as const) {
    const node: Name = [{ name: 'x', type, devmajor: 1, devminor: 3 }];
    assert.deepEqual(await filesOf([file('x', '1'), node, file('y', '2')]), { '/y': '2' }, type);
    await assert.rejects(filesOf([node, file('x/a', '1')]), { code: 'appraisal.image.malformed' });
  }
});

test('what is no file has no bytes, and a kind that is not known is refused', async () => {
  const sized = headerOf(symlink('a', 'b'), (tar) => tar.write('00000001000\0', 124, 'latin1'));
  await assert.rejects(sized, { code: 'appraisal.image.malformed' });
  const strange = headerOf(file('a', ''), (tar) => tar.write('Z', 156, 'latin1'));
  await assert.rejects(strange, { code: 'appraisal.image.malformed' });
});

test('links lead somewhere; a pax name or link is UTF-8', async () => {
  const pathFault = { code: 'appraisal.image.path' };
  await assert.rejects(filesOf([symlink('a', '')]), pathFault);
  const long = (linkpath: string): Name => [{ name: 'a', type: 'symlink', linkname: 'x', pax: { linkpath } }];
  await assert.rejects(filesOf([long('x'.repeat(FLATTEN_LIMITS.pathBytes))]), pathFault);
  assert.deepEqual(await filesOf([dir('d'), long('d'), file('a/f', '1')]), { '/d/f': '1' });
  for (const key of ['path', 'linkpath']) {
    const name: Name = [{ name: 'a', type: 'symlink', linkname: 'x', pax: { [key]: 'a\ufffdb' } }];
    await assert.rejects(filesOf([name]), pathFault, key);
  }
  const named: Name = [{ name: 'x', pax: { path: 'caf\u00e9' } }, '1'];
  assert.deepEqual(await filesOf([named]), { '/caf\u00e9': '1' });
});

test('names that are not UTF-8 do not become one another', async () => {
  const tar = Buffer.from(await tarOf([file('aXb', '1'), file('aYb', '2')]));
  const rename = (at: number, byte: number) => {
    tar[at + 1] = byte;
    mendChecksum(tar, at);
  };
  rename(0, 0xfe);
  rename(1024, 0xff);
  const image = await flattenImage(imageOfTars([new Uint8Array(tar)]));
  assert.deepEqual(
    [...image.files].map(({ path }) => path),
    ['/a\\xfeb', '/a\\xffb'],
  );
});

test('bounds: names, depth, bytes, ratio, layers, documents', async () => {
  const limited = async (limits: Partial<typeof FLATTEN_LIMITS>, layers: Name[][]) =>
    flattenImage(await imageOf(layers), { ...FLATTEN_LIMITS, ...limits });
  const zeros = [file('zeros', '\0'.repeat(2_000_000))];
  const over = { code: 'appraisal.image.oversized' };
  await assert.rejects(limited({ entries: 2 }, [[file('a', ''), file('b', '')], [file('c', '')]]), over);
  await assert.rejects(limited({ depth: 3 }, [[file('a/b/c/d', '')]]), over);
  await assert.rejects(limited({ totalBytes: 1_000_000 }, [zeros]), over);
  await assert.rejects(limited({ freeBytes: 100_000 }, [zeros]), over);
  await assert.rejects(limited({ layers: 1 }, [[], []]), over);
  await assert.rejects(limited({ documentBytes: 10 }, [[]]), over);
  const chain = [symlink('s', 'x/'.repeat(45)), file('s/a', ''), symlink('t', `s/${'y/'.repeat(44)}`), file('t/b', '')];
  await assert.rejects(limited({ pathBytes: 150 }, [chain]), over);
  assert.equal((await limited({}, [zeros])).files.size, 1);
});

test('a bound itself is kept: names, layers, bytes of each document, bytes of all archives', async () => {
  const layers = [[file('a', '1'), file('b', '')], [file('c', '')]];
  const source = await imageOf(layers, { process: { User: '1:1', Env: ['A='.padEnd(5000, 'x')] } });
  const bytes = (await Promise.all(layers.map(tarOf))).reduce((sum, { length }) => sum + length, 0);
  const { manifest, config } = source;
  assert.ok(config.length > manifest.length);
  const exact = { entries: 3, layers: 2, documentBytes: config.length, totalBytes: bytes };
  assert.equal((await flattenImage(source, { ...FLATTEN_LIMITS, ...exact })).files.size, 3);
  const padded = { ...source, manifest: Buffer.concat([manifest, Buffer.alloc(config.length - manifest.length, ' ')]) };
  assert.equal((await flattenImage(padded, { ...FLATTEN_LIMITS, ...exact })).files.size, 3);
  const over = { code: 'appraisal.image.oversized' };
  for (const [bound, value] of Object.entries(exact))
    await assert.rejects(flattenImage(source, { ...FLATTEN_LIMITS, [bound]: value - 1 }), over, bound);
  const larger = { ...source, manifest: Buffer.concat([padded.manifest, Buffer.from(' ')]) };
  await assert.rejects(flattenImage(larger, { ...FLATTEN_LIMITS, documentBytes: config.length }), over);
});

test('what an image may hold', () => {
  assert.deepEqual(FLATTEN_LIMITS, {
    documentBytes: 8_388_608,
    layers: 512,
    entries: 500_000,
    pathBytes: 4096,
    depth: 1024,
    totalBytes: 34_359_738_368,
    ratio: 200,
    freeBytes: 268_435_456,
  });
});

test('gzip, zstd and plain layers give the same; several gzip members too', async () => {
  const layers = [[file('a', 'x'.repeat(5000))]];
  const members: Compression = (tar) =>
    new Uint8Array(Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))]));
  const images = await Promise.all(
    [gzip, none, members, (tar: Uint8Array) => new Uint8Array(zstdCompressSync(tar))].map(async (compress) =>
      flattenImage(await imageOf(layers, { compress })),
    ),
  );
  for (const image of images) assert.deepEqual(image.files.encode(), images[0]?.files.encode());
});

test('digests: a changed layer, archive, configuration or manifest is refused', async () => {
  const layers = [[file('a', 'x')]];
  const wrong = { code: 'appraisal.image.digest' };
  const other = new Uint8Array(gzipSync(await tarOf([file('a', 'y')])));
  await assert.rejects(flattenImage(await imageOf(layers, { mangle: () => [other] })), wrong);
  await assert.rejects(
    flattenImage(await imageOf(layers, { mangle: ([blob]) => [Buffer.concat([blob ?? other, gzipSync('')])] })),
    wrong,
  );
  const source = await imageOf(layers);
  await assert.rejects(flattenImage({ ...source, config: Buffer.concat([source.config, Buffer.from(' ')]) }), {
    ...wrong,
    message: /^the configuration has the digest /,
  });
  const manifest = JSON.parse(Buffer.from(source.manifest).toString());
  const config = JSON.parse(Buffer.from(source.config).toString());
  config.rootfs.diff_ids[0] = `sha256:${'0'.repeat(64)}`;
  const swapped = new TextEncoder().encode(JSON.stringify(config));
  manifest.config.digest = `sha256:${sha256Hex(swapped)}`;
  await assert.rejects(
    flattenImage({ ...source, config: swapped, manifest: new TextEncoder().encode(JSON.stringify(manifest)) }),
    wrong,
  );
});

test('damaged layers: cut, garbage, empty, unknown compression, a source that fails', async () => {
  const layers = [[file('a', Array.from({ length: 3000 }, (_, i) => String(i * 7919)).join())]];
  const cut = (keep: number): Facts => ({ mangle: ([blob]) => [(blob ?? new Uint8Array()).subarray(0, keep)] });
  await assert.rejects(flattenImage(await imageOf(layers, cut(3000))), { code: 'appraisal.image.compression' });
  await assert.rejects(flattenImage(await imageOf(layers, cut(2))), { code: 'appraisal.image.compression' });
  await assert.rejects(flattenImage(await imageOf(layers, cut(0))), { code: 'appraisal.image.digest' });
  const tar = await tarOf(layers[0] ?? []);
  for (const length of [100, 900, 3000, tar.length - 1]) {
    await assert.rejects(
      flattenImage(imageOfTars([tar.subarray(0, length)], {}, none)),
      { code: 'appraisal.image.malformed' },
      `cut at ${length}`,
    );
  }
  await assert.rejects(flattenImage(imageOfTars([Buffer.from('BZh9'.repeat(500))], {}, none)), {
    code: 'appraisal.image.malformed',
  });
  const source = await imageOf(layers);
  const failing: OciSource = {
    ...source,
    async *openLayer(digest) {
      for await (const chunk of source.openLayer(digest)) {
        yield chunk;
        throw new RangeError('disk');
      }
    },
  };
  await assert.rejects(flattenImage(failing), (error: Error) => error.cause instanceof RangeError);
  const refusing = (blob: Uint8Array): OciSource => ({
    ...source,
    async *openLayer() {
      yield blob.subarray(0, 600);
      throw new LacreError('appraisal.image.digest', 'another layer came');
    },
  });
  for (const blob of [gzipSync(tar), tar])
    await assert.rejects(flattenImage(refusing(blob)), { code: 'appraisal.image.digest' });
});

test('documents that are no manifest or configuration are refused with what is wrong', async () => {
  const source = await imageOf([[]]);
  for (const manifest of [
    '',
    '{',
    '[]',
    '{"schemaVersion":1}',
    '{"schemaVersion":2,"config":{"digest":"md5:1","size":1},"layers":[]}',
  ]) {
    await assert.rejects(
      flattenImage({ ...source, manifest: new TextEncoder().encode(manifest) }),
      { code: 'appraisal.image.malformed' },
      manifest,
    );
  }
});

test('manifest and configuration name the same number of layers', async () => {
  const source = await imageOf([[], []]);
  const manifest = JSON.parse(Buffer.from(source.manifest).toString());
  manifest.layers.pop();
  const short = new TextEncoder().encode(JSON.stringify(manifest));
  await assert.rejects(flattenImage({ ...source, manifest: short }), {
    code: 'appraisal.image.malformed',
    message: /numbers of layers/,
  });
});

test('an image whose configuration says nothing of its process starts nothing', async () => {
  const source = await imageOf([[file('a', '1')]]);
  const config = JSON.parse(Buffer.from(source.config).toString());
  const bytes = new TextEncoder().encode(JSON.stringify({ rootfs: config.rootfs }));
  const manifest = JSON.parse(Buffer.from(source.manifest).toString());
  manifest.config = { digest: `sha256:${sha256Hex(bytes)}`, size: bytes.length };
  const image = await flattenImage({
    ...source,
    config: bytes,
    manifest: new TextEncoder().encode(JSON.stringify(manifest)),
  });
  assert.deepEqual([image.entrypoint, image.command, image.entrypointPath], [[], [], '']);
  assert.deepEqual([image.workingDir, image.user, image.environment.size], ['', '0:0', 0]);
});

test('the entrypoint is the regular file that the kernel will log', async () => {
  const root = [
    dir('usr/bin'),
    symlink('bin', 'usr/bin'),
    symlink('usr/bin/python3', 'python3.11'),
    file('usr/bin/python3.11', 'py'),
    [{ name: 'usr/bin/data', mode: 0o644 }, 'd'] as Name,
    file('app/run.sh', '#!/bin/sh\n'),
    symlink('app/loop', 'loop'),
    symlink('start', '../../app/run.sh'),
    symlink('absolute', '/app/run.sh'),
  ];
  const resolve = async (process: Record<string, unknown>) =>
    (await flattenImage(await imageOf([root], { process }))).entrypointPath;
  assert.equal(await resolve({ Entrypoint: ['/bin/python3'] }), '/usr/bin/python3.11');
  assert.equal(await resolve({ Entrypoint: ['python3'], Env: ['PATH=/nowhere:/bin'] }), '/usr/bin/python3.11');
  assert.equal(await resolve({ Cmd: ['python3', 'x'] }), '/usr/bin/python3.11');
  assert.equal(await resolve({ Cmd: ['./run.sh'], WorkingDir: '/app' }), '/app/run.sh');
  assert.equal(await resolve({ Entrypoint: ['/start'] }), '/app/run.sh');
  assert.equal(await resolve({ Entrypoint: ['run.sh'], Env: ['PATH=nowhere:app'] }), '/app/run.sh');
  assert.equal(await resolve({ Entrypoint: ['run.sh'], Env: ['PATH=.'], WorkingDir: '/app' }), '/app/run.sh');
  assert.equal(await resolve({ Entrypoint: ['/absolute'] }), '/app/run.sh');
  assert.equal(await resolve({}), '');
  for (const program of ['/bin/data', '/absent', 'python3 ', '/app', '/app/loop', '/..', 'run.sh']) {
    await assert.rejects(resolve({ Entrypoint: [program] }), { code: 'appraisal.entrypoint.unresolved' }, program);
  }
});

test('users become numbers by the image itself', async () => {
  const root = [
    file('etc/passwd', 'root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/\n'),
    file('etc/group', 'root:x:0:\nstaff:x:50:app\n'),
  ];
  const resolve = async (User: string) => (await flattenImage(await imageOf([root], { process: { User } }))).user;
  const cases = {
    '': '0:0',
    app: '1000:1001',
    '1000': '1000:1001',
    '7': '7:0',
    'app:staff': '1000:50',
    '1:2': '1:2',
    nobody: 'nobody',
    'app:none': 'app:none',
  };
  for (const [user, expected] of Object.entries(cases)) assert.equal(await resolve(user), expected, user);
});

test('rows of passwd and group that are cut or no numbers name nobody', async () => {
  const resolve = async (User: string, passwd: string, group = '') => {
    const root = [file('etc/passwd', passwd), file('etc/group', group)];
    return (await flattenImage(await imageOf([root], { process: { User } }))).user;
  };
  assert.equal(await resolve('app', 'app\n'), 'app');
  assert.equal(await resolve('app', 'app:x:\n'), 'app');
  assert.equal(await resolve('app', 'app:x:one:2:::\n'), 'app');
  assert.equal(await resolve('app', 'app:x:1:two:::\n'), 'app');
  assert.equal(await resolve('app:staff', 'app:x:1:2:::\n', 'staff:x:\n'), 'app:staff');
  assert.equal(
    await resolve('app', `app:x:1:2:::\n${'#'.repeat(1024 * 1024)}`),
    'app',
    'a table over 1 MiB is not read',
  );
});

test('what an image says of its process survives the wire', async () => {
  const process = {
    Entrypoint: ['/a'],
    Cmd: ['b c'],
    Env: ['PATH=/x', 'EMPTY=', 'E=1=2'],
    WorkingDir: '/w',
    User: '5:6',
    Labels: { tier: 'a=b' },
  };
  const image = await flattenImage(await imageOf([[file('a', '1')]], { process }));
  assert.deepEqual(image.environment.get('E'), '1=2');
  assert.deepEqual([...image.labels], [['tier', 'a=b']]);
  const again = imageReferenceOf(imageReferenceMessage(image), FileTable.decode(image.files.encode()));
  assert.deepEqual({ ...again, files: again.files.encode() }, { ...image, files: image.files.encode() });
  const message = imageReferenceMessage(image);
  const ofRows = imageReferenceOf({ ...message, environment: ['A', 'B=1', 'B=2'] }, [...image.files]);
  assert.deepEqual(ofRows.files.encode(), image.files.encode());
  assert.deepEqual(
    [...ofRows.environment],
    [
      ['A', ''],
      ['B', '2'],
    ],
  );
  assert.throws(() => imageReferenceOf({ ...message, fileCount: 2n }, image.files), {
    code: 'appraisal.image.malformed',
  });
  assert.throws(() => imageReferenceOf({ ...message, manifestDigest: 'sha256:1' }, image.files), {
    code: 'appraisal.image.malformed',
  });
  assert.throws(() => imageReferenceOf({ ...message, entrypointPath: '/b' }, image.files), {
    code: 'appraisal.image.malformed',
  });
});

test('damage anywhere in an archive is refused or changes what is found, and never does anything else', async () => {
  const names = [
    dir('d'),
    file('d/f', 'x'),
    symlink('l', 'd'),
    hardLink('h', 'd/f'),
    file('.wh.gone', ''),
    file(`${'long/'.repeat(30)}name`, 'y'),
  ];
  const tar = await tarOf(names);
  await fc.assert(
    fc.asyncProperty(
      fc.nat(tar.length - 1),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      async (at, change, mend) => {
        const bad = Buffer.from(tar);
        bad[at] = (bad[at] ?? 0) ^ change;
        if (mend) mendChecksum(bad, at - (at % 512));
        try {
          await flattenImage(imageOfTars([bad], {}, none));
        } catch (error) {
          assert.match(String((error as { code?: string }).code), /^appraisal\.(image|files)\./);
        }
      },
    ),
    { numRuns: 1500 },
  );
});

test('a size that is no number is refused, and does not wait for ever', { timeout: 10_000 }, async () => {
  for (const first of [0xf5, 0x81, 0xff, 0x39, 0x2d]) {
    const tar = Buffer.from(await tarOf([file('a', 'x'), file('b', 'y')]));
    tar[124] = first;
    mendChecksum(tar, 0);
    await assert.rejects(
      flattenImage(imageOfTars([tar], {}, none)),
      { code: 'appraisal.image.malformed' },
      `0x${first.toString(16)}`,
    );
  }
});
