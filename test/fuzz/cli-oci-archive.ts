import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withOciImage } from '../../src/cli/oci-source.ts';
import { tarEntry } from './appraisal-image.ts';
import { bytesOf, type FuzzTarget, textOf } from './engine/target.ts';

const folder = mkdtempSync(join(tmpdir(), 'lacre-fuzz-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const digest = (text: string) => createHash('sha256').update(text).digest('hex');
const descriptor = (text: string, more: object = {}) => ({
  digest: `sha256:${digest(text)}`,
  size: text.length,
  ...more,
});
const CONFIG = '{}';
const MANIFEST = JSON.stringify({ config: descriptor(CONFIG), layers: [] });
const PLATFORM = { platform: { os: 'linux', architecture: 'amd64' } };
const INDEX = JSON.stringify({ manifests: [descriptor(MANIFEST, PLATFORM)] });

/** An archive whose index names `blob`. */
function archive(blob: string): Uint8Array {
  const index = JSON.stringify({ manifests: [descriptor(blob)] });
  const files = [
    ['index.json', index],
    ...[blob, MANIFEST, CONFIG].map((text) => [`blobs/sha256/${digest(text)}`, text]),
  ];
  return new Uint8Array(
    Buffer.concat([...files.map(([name = '', text = '']) => tarEntry(name, '0', text)), Buffer.alloc(1024)]),
  );
}

/** The first byte: the rest is the archive, or (as text without other than ASCII) the manifest or index that it names. */
export const target: FuzzTarget = {
  parsers: ['src/cli/oci-source.ts#withOciImage', 'src/cli/tar-file.ts#tarEntries'],
  seeds: () => [
    Uint8Array.of(0, ...archive(MANIFEST)),
    ...[MANIFEST, INDEX].map((text) => Uint8Array.of(1, ...bytesOf(text))),
  ],
  words: ['"manifests"', '"digest"', 'sha256:', '"platform"', '[]', '{}', 'null', 'blobs/sha256/', '../', 'ustar'],
  maxBytes: 1 << 20,
  fastMs: 500,
  run: (bytes) => {
    const body = bytes.subarray(1);
    const path = join(folder, 'image.tar');
    writeFileSync(path, bytes[0] === 1 ? archive(textOf(body).replace(/[^\x20-\x7e]/g, '?')) : body);
    return withOciImage(path, { platform: 'linux/amd64' }, async (image) => image.manifestDigest);
  },
};
