import { parseImageConfig, parseImageManifest } from '../../src/appraisal/reference/image-documents.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { type FuzzTarget, tiled, vectorFiles } from './engine/target.ts';

/** Manifest and configuration of an image: any text is tried as both. */
export const target: FuzzTarget = {
  parsers: [
    'src/appraisal/reference/image-documents.ts#parseImageManifest',
    'src/appraisal/reference/image-documents.ts#parseImageConfig',
  ],
  seeds: () => vectorFiles('appraisal/podman-image', '.json'),
  words: [
    'null',
    '[]',
    '{}',
    '"layers"',
    '"digest"',
    '"diff_ids"',
    '"Env"',
    '"Entrypoint"',
    '"__proto__"',
    '1e999',
    'sha256:',
  ],
  shapes: [
    tiled('['),
    tiled('{"a":'),
    tiled('"A=b",', '{"rootfs":{"type":"layers","diff_ids":[]},"config":{"Env":[', '"c"]}}'),
  ],
  maxBytes: 1 << 19,
  fastMs: 150,
  run: (bytes) => {
    try {
      parseImageManifest(bytes);
    } catch (error) {
      if (!isLacreError(error)) throw error;
    }
    return parseImageConfig(bytes);
  },
};
