import { parseCgroup } from '../../src/container/cgroup.ts';
import { bytesOf, type FuzzTarget, procParts, textOf, tiled } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: ['src/container/cgroup.ts#parseCgroup'],
  seeds: () => [...procParts('cgroup'), bytesOf(`0::/machine.slice/libpod-${'a'.repeat(64)}.scope/container\n`)],
  words: ['0::/', 'libpod-', '.scope', '\n', 'a'.repeat(64), '/'],
  shapes: [tiled('/libpod-', '0::'), tiled('0::/\n')],
  maxBytes: 1 << 17,
  run: (bytes) => parseCgroup(textOf(bytes)) ?? 'none',
};
