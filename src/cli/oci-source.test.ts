import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, test } from 'node:test';
import { pack } from 'tar-stream';
import { withOciImage } from './oci-source.ts';

const folder = await mkdtemp(join(tmpdir(), 'lacre-oci-test-'));
after(() => rm(folder, { recursive: true, force: true }));

interface Blob {
  readonly digest: string;
  readonly size: number;
  readonly bytes: Buffer;
}

function blob(value: unknown): Blob {
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value));
  return { digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`, size: bytes.length, bytes };
}

const layer = blob(Buffer.from('a layer'));
const config = blob({ rootfs: { type: 'layers', diff_ids: [layer.digest] } });
const entry = ({ digest, size }: Blob, more: object = {}) => ({ mediaType: 'x', digest, size, ...more });
const manifest = blob({ schemaVersion: 2, config: entry(config), layers: [entry(layer)] });

async function archive(
  name: string,
  index: object,
  blobs: readonly Blob[],
  rename = (b: Blob) => b.digest,
): Promise<string> {
  const tar = pack();
  tar.entry({ name: 'oci-layout' }, '{"imageLayoutVersion":"1.0.0"}');
  tar.entry({ name: 'index.json' }, JSON.stringify(index));
  for (const one of blobs) tar.entry({ name: `blobs/sha256/${rename(one).slice(7)}` }, one.bytes);
  tar.entry({ name: '../escape' }, 'never written');
  tar.finalize();
  const path = join(folder, name);
  await pipeline(tar, createWriteStream(path));
  return path;
}

const linux = { platform: 'linux/amd64' };
const named = (name: string) => ({ annotations: { 'org.opencontainers.image.ref.name': name } });

test('an archive gives manifest, configuration, names and layers', async () => {
  const path = await archive('good.tar', { manifests: [entry(manifest, named('orders:1'))] }, [
    manifest,
    config,
    layer,
  ]);
  await withOciImage(path, linux, async (image) => {
    assert.equal(image.manifestDigest, manifest.digest);
    assert.deepEqual(image.names, ['orders:1']);
    const parts: Uint8Array[] = [];
    for await (const part of image.openLayer(layer.digest)) parts.push(part);
    assert.equal(Buffer.concat(parts).toString(), 'a layer');
  });
});

test('of several images one has to be named', async () => {
  const other = blob({ schemaVersion: 2, config: entry(config), layers: [] });
  const index = { manifests: [entry(manifest, named('a')), entry(other, named('b'))] };
  const path = await archive('two.tar', index, [manifest, other, config, layer]);
  await assert.rejects(
    withOciImage(path, linux, async () => {}),
    { code: 'cli.image.ambiguous' },
  );
  assert.equal(
    await withOciImage(path, { ...linux, reference: 'b' }, async (image) => image.manifestDigest),
    other.digest,
  );
});

test('a multi-platform image gives the platform that was asked for', async () => {
  const inner = blob({ manifests: [entry(manifest, { platform: { os: 'linux', architecture: 'amd64' } })] });
  const path = await archive('multi.tar', { manifests: [entry(inner)] }, [inner, manifest, config, layer]);
  assert.equal(await withOciImage(path, linux, async (image) => image.manifestDigest), manifest.digest);
  await assert.rejects(
    withOciImage(path, { platform: 'linux/arm64' }, async () => {}),
    { code: 'cli.image.ambiguous' },
  );
});

test('a blob under another name, a missing one, and what is no archive are refused', async () => {
  const wrong = await archive('wrong.tar', { manifests: [entry(manifest)] }, [
    { ...manifest, bytes: config.bytes },
    config,
  ]);
  await assert.rejects(
    withOciImage(wrong, linux, async () => {}),
    { code: 'cli.image.invalid' },
  );
  const missing = await archive('missing.tar', { manifests: [entry(manifest)] }, [config]);
  await assert.rejects(
    withOciImage(missing, linux, async () => {}),
    { code: 'cli.image.invalid' },
  );
  const junk = join(folder, 'junk.tar');
  await writeFile(junk, Buffer.alloc(4096, 0x41));
  await assert.rejects(
    withOciImage(junk, linux, async () => {}),
    { code: 'cli.file.invalid' },
  );
  await assert.rejects(
    withOciImage(join(folder, 'absent.tar'), linux, async () => {}),
    { code: 'cli.file.missing' },
  );
});

test('an entry without a size is refused, and nothing waits for it', async () => {
  const path = await archive('size.tar', { manifests: [entry(manifest)] }, [manifest]);
  const bytes = await readFile(path);
  const block = bytes.subarray(512 * 2, 512 * 3); // header of the second entry: index.json
  block.write('no number \0\0', 124, 'latin1');
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  await writeFile(path, bytes);
  await assert.rejects(
    withOciImage(path, linux, async () => {}),
    { code: 'cli.file.invalid' },
  );
});
