import assert from 'node:assert/strict';
import {
  decodeContainer,
  decodeRecord,
  encodeContainer,
  encodeRecord,
  makeContainer,
  makeRecord,
} from '../../src/container/record.ts';
import { bytesOf, type FuzzTarget } from './engine/target.ts';

const ID = 'a'.repeat(64);
const container = () =>
  encodeContainer(
    makeContainer({
      id: ID,
      engine: 'podman',
      name: 'orders',
      manifestDigest: `sha256:${'1'.repeat(64)}`,
      argv: ['/bin/app', '--serve'],
      cwd: '/',
      hostNamespaces: ['ipc', 'net'],
      devices: ['/dev/a', '/dev/b'],
    }),
  );
const record = () =>
  encodeRecord(makeRecord({ containerSha256: new Uint8Array(32), containerId: ID, uid: 200_000, isInitFamily: true }));

/** What is taken is encoded in the one canonical way. The first byte chooses the message. */
export const target: FuzzTarget = {
  parsers: ['src/container/record.ts#decodeContainer', 'src/container/record.ts#decodeRecord'],
  seeds: () => [Uint8Array.of(0, ...container()), Uint8Array.of(1, ...record())],
  words: [
    ID,
    'sha256:',
    '/',
    Uint8Array.of(0x0a, 0x40),
    Uint8Array.of(0x08, 1),
    Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f),
  ],
  shapes: [
    (size) =>
      Uint8Array.from([
        ...bytesOf('\0'),
        ...new Uint8Array(size - 1).fill(0x2a).map((byte, at) => (at % 2 === 0 ? byte : 0)),
      ]),
  ],
  maxBytes: 256 * 1024,
  run: (bytes) => {
    const message = bytes.subarray(1);
    if (bytes[0] === 1) {
      const { claim } = decodeRecord(message);
      return assert.deepEqual(encodeRecord(claim), message.slice());
    }
    const { claim } = decodeContainer(message);
    return assert.deepEqual(encodeContainer(claim), message.slice());
  },
};
