import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { encodeFrame } from '../../src/grpc-call.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { GrpcReader } from '../../src/server/grpc-reader.ts';
import { bytesOf, type FuzzTarget } from './engine/target.ts';

const MAX_MESSAGE_BYTES = 4096;
const PIECE = 7;

/** In pieces as in one. */
export const target: FuzzTarget = {
  parsers: ['src/server/grpc-reader.ts#next'],
  seeds: () => {
    const messages = ['', 'message', 'm'.repeat(MAX_MESSAGE_BYTES)].map((text) => encodeFrame(bytesOf(text)));
    return [...messages, Buffer.concat(messages)].map((bytes) => new Uint8Array(bytes));
  },
  words: [Uint8Array.of(0, 0, 0, 0, 0), Uint8Array.of(0, 0, 0, 16, 0), Uint8Array.of(1)],
  maxBytes: 1 << 16,
  run: async (bytes) => {
    const [whole, pieces] = [await read(bytes, bytes.length), await read(bytes, PIECE)];
    assert.deepEqual(pieces, whole);
    if (whole.error !== undefined) throw whole.error;
    return whole.messages;
  },
};

/** The messages of a request, and what it ended with. */
async function read(bytes: Uint8Array, piece: number): Promise<{ messages: Uint8Array[]; error?: Error }> {
  const stream = new PassThrough();
  const reader = new GrpcReader(stream, MAX_MESSAGE_BYTES);
  for (let at = 0; at < bytes.length; at += piece) stream.write(bytes.slice(at, at + piece));
  stream.end();
  const messages: Uint8Array[] = [];
  try {
    for (let next = await reader.next(); next.done !== true; next = await reader.next()) messages.push(next.value);
    return { messages };
  } catch (error) {
    if (isLacreError(error)) return { messages, error };
    throw error;
  }
}
