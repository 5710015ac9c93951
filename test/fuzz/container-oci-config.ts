import { parseOciConfig } from '../../src/agent/podman-config.ts';
import { type FuzzTarget, textOf, tiled, vectorFiles } from './engine/target.ts';

const nested = '{"process":{},"linux":{"seccomp":{"x":';

/** config.json of the OCI runtime specification, its seccomp profile too. */
export const target: FuzzTarget = {
  parsers: [
    'src/agent/podman-config.ts#parseOciConfig',
    'src/container/seccomp-profile.ts#parseSeccompProfile',
    'src/container/seccomp-profile.ts#deniesUserNamespaces',
    'src/container/json-value.ts#parseJson',
    'src/container/json-value.ts#parseJsonObject',
  ],
  seeds: () => vectorFiles('container', '.config.json').map((text) => text.slice(0, 60_000)),
  words: [
    'null',
    '[]',
    '{}',
    '"process"',
    '"args"',
    '"seccomp"',
    '"SCMP_ACT_ALLOW"',
    '1e400',
    '-1',
    '"__proto__"',
    ',',
    ':',
  ],
  shapes: [tiled('[', nested), closed],
  maxBytes: 1 << 20,
  fastMs: 150,
  run: (bytes) => parseOciConfig(textOf(bytes)),
};

/** Lists in lists, as deep as `size` allows, well-formed. */
function closed(size: number): Uint8Array {
  const depth = Math.floor((size - nested.length - 3) / 2);
  return new Uint8Array(Buffer.from(`${nested}${'['.repeat(depth)}${']'.repeat(depth)}}}}`));
}
