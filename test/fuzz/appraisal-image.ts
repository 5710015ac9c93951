import { createHash } from 'node:crypto';
import { flattenImage } from '../../src/appraisal/reference/flatten-image.ts';
import { FLATTEN_LIMITS } from '../../src/appraisal/reference/flatten-limits.ts';
import { bytesOf, type FuzzTarget } from './engine/target.ts';

const digest = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** One name of a tar archive, ustar. */
export function tarEntry(name: string, type: string, content = '', link = ''): Buffer {
  const head = Buffer.alloc(512);
  head.write(name, 0, 100);
  head.write('0000755\0', 100);
  head.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  head.write(type, 156);
  head.write(link, 157, 100);
  head.write('ustar\x0000', 257, 'latin1');
  head.write('        ', 148);
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
  body.write(content);
  return Buffer.concat([head, body]);
}

const end = Buffer.alloc(1024);
const layers = () => [
  Buffer.concat([
    tarEntry('bin/', '5'),
    tarEntry('bin/app', '0', 'program'),
    tarEntry('bin/a', '2', '', '../bin/app'),
    end,
  ]),
  Buffer.concat([tarEntry('bin/.wh.app', '0'), tarEntry('etc/', '5'), tarEntry('etc/.wh..wh..opq', '0'), end]),
  Buffer.concat([tarEntry('bin/b', '0', 'x'), tarEntry('bin/c', '1', '', 'bin/b'), end]),
  Buffer.concat([tarEntry('pax', 'x', '16 path=bin/../x\n'), tarEntry('y', '0', 'z'), end]),
];

/** A layer as it travels, uncompressed, over an image with one other layer. Its checksums are made right. */
export const target: FuzzTarget = {
  parsers: ['src/appraisal/reference/flatten-image.ts#flattenImage'],
  seeds: () => layers().map((layer) => new Uint8Array(layer)),
  words: [
    '../',
    '.wh.',
    '.wh..wh..opq',
    '/',
    'ustar\x0000',
    '00000000017\0',
    '30 path=../../etc/passwd\n',
    Uint8Array.of(0x80),
  ],
  shapes: [
    (size) =>
      new Uint8Array(Buffer.concat([...Array(Math.floor(size / 512)).keys()].map((n) => tarEntry(`d${n}`, '0')))),
  ],
  maxBytes: 1 << 19,
  fastMs: 800,
  run: async (bytes) => {
    const layer = withChecksums(bytes);
    const config = bytesOf(
      JSON.stringify({ config: {}, rootfs: { type: 'layers', diff_ids: [digest(BASE), digest(layer)] } }),
    );
    const described = [BASE, layer].map((blob) => ({ digest: digest(blob), size: blob.length }));
    const manifest = bytesOf(
      JSON.stringify({ schemaVersion: 2, config: { digest: digest(config), size: config.length }, layers: described }),
    );
    async function* openLayer(wanted: string) {
      yield wanted === digest(layer) ? layer : BASE;
    }
    return flattenImage({ manifest, config, names: [], openLayer }, { ...FLATTEN_LIMITS, totalBytes: 1 << 24 });
  },
};

const BASE = new Uint8Array(Buffer.concat([tarEntry('bin/', '5'), tarEntry('bin/app', '0', 'base'), end]));

/** Puts the sum of each block that looks like a header into it: else hardly any change would be read. */
function withChecksums(bytes: Uint8Array): Uint8Array {
  const tar = Buffer.from(bytes);
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    const head = tar.subarray(at, at + 512);
    if (head.toString('latin1', 257, 262) !== 'ustar') continue;
    head.write('        ', 148);
    const sum = head.reduce((total, byte) => total + byte, 0);
    head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  }
  return new Uint8Array(tar);
}
