import { parseUidMap, rangeOf } from '../../src/container/uid-map.ts';
import { bytesOf, type FuzzTarget, procParts, textOf, tiled } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: ['src/container/uid-map.ts#parseUidMap'],
  seeds: () => [...procParts('uid_map'), bytesOf('0 0 4294967295\n')],
  words: ['0', ' ', '\n', '4294967295', '\t'],
  shapes: [tiled('         0     200000      65534\n'), tiled(' ', '0')],
  maxBytes: 64 * 1024,
  run: (bytes) => rangeOf(parseUidMap(textOf(bytes))),
};
