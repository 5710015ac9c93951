import assert from 'node:assert/strict';
import { FrameReader } from '../../src/agent/grpc-frame.ts';
import { encodeFrame } from '../../src/grpc-call.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { bytesOf, type FuzzTarget } from './engine/target.ts';

/** Byte by byte as in one piece. */
export const target: FuzzTarget = {
  parsers: ['src/agent/grpc-frame.ts#push'],
  seeds: () => [new Uint8Array(encodeFrame(bytesOf(''))), new Uint8Array(encodeFrame(bytesOf('message')))],
  words: [Uint8Array.of(0, 0, 0, 0, 0), Uint8Array.of(0, 0, 0, 16, 0), Uint8Array.of(1)],
  maxBytes: 1 << 17,
  run: (bytes) => {
    const whole = new FrameReader().push(Buffer.from(bytes));
    const reader = new FrameReader();
    let last: Uint8Array | undefined;
    try {
      for (const byte of bytes.subarray(0, 600)) last = reader.push(Buffer.from([byte]));
    } catch (error) {
      if (!isLacreError(error)) throw error;
      // A frame that is taken whole can't be refused in pieces.
      assert.equal(whole, undefined);
    }
    if (whole !== undefined && bytes.length <= 600) assert.deepEqual(last, whole);
    return whole;
  },
};
