import { checkReferencePath } from '../../src/appraisal/reference/reference-path.ts';
import { parseEvidenceAge, parseSelector } from '../../src/appraisal/selector/selector.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { bytesOf, type FuzzTarget, textOf } from './engine/target.ts';

const READERS = [parseEvidenceAge, checkReferencePath, parseSelector];

export const target: FuzzTarget = {
  parsers: [
    'src/appraisal/selector/selector.ts#parseSelector',
    'src/appraisal/selector/selector.ts#parseEvidenceAge',
    'src/appraisal/reference/reference-path.ts#checkReferencePath',
  ],
  seeds: () =>
    [
      'lacre:attribution:exact',
      'lacre:evidence-age:30s',
      `lacre:image:sha256:${'a'.repeat(64)}`,
      'unix:uid:0',
      '5m',
      '/bin/a',
    ].map(bytesOf),
  words: ['lacre:', 'evidence-age:', 'exec:allowed', '500ms', '1h', 'sha256:', 'host:sealed', '__proto__', '..', '\0'],
  maxBytes: 1 << 17,
  run: (bytes) => {
    const text = textOf(bytes);
    for (const read of READERS.slice(0, -1)) {
      try {
        read(text);
      } catch (error) {
        if (!isLacreError(error)) throw error;
      }
    }
    return parseSelector(text);
  },
};
