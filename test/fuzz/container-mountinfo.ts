import { parseMountInfo } from '../../src/container/mount-info.ts';
import { type FuzzTarget, tiled, vectorFiles } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: ['src/container/mount-info.ts#parseMountInfo'],
  seeds: () => vectorFiles('container', '.mountinfo'),
  words: [' - ', '\\040', '\n', '0:43', '/', 'overlay', ' '],
  shapes: [tiled('\\040', '1 1 0:1 / /', ' rw - a b c'), tiled('1 1 0:1 / / rw - a b c\n'), tiled('a ')],
  maxBytes: 1 << 20,
  fastMs: 150,
  run: parseMountInfo,
};
