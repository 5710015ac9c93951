import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import fc from 'fast-check';
import { encodeFrame } from '../grpc-call.ts';
import { GrpcReader } from './grpc-reader.ts';

function frame(message: Uint8Array, flags = 0): Buffer {
  const framed = encodeFrame(message);
  framed[0] = flags;
  return framed;
}

async function all(reader: GrpcReader): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  for (let next = await reader.next(); next.done !== true; next = await reader.next()) found.push(next.value);
  return found;
}

test('messages come in their order, however the bytes are cut', async () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(messages, fc.integer({ min: 1, max: 60 }), async (sent, piece) => {
      const stream = new PassThrough();
      const reader = new GrpcReader(stream, 64);
      const bytes = Buffer.concat(sent.map((message) => frame(message)));
      for (let at = 0; at < bytes.length; at += piece) stream.write(bytes.subarray(at, at + piece));
      stream.end();
      assert.deepEqual(await all(reader), sent);
      assert.equal((await reader.next()).done, true);
    }),
  );
});

test('what is no message ends the request, after the messages before it', async () => {
  const good = Uint8Array.of(1, 2);
  for (const [bytes, code] of [
    [frame(new Uint8Array(65)), 'server.limit'],
    [frame(good, 1), 'server.protocol'],
    [frame(good).subarray(0, 6), 'server.protocol'],
    [Buffer.of(0), 'server.protocol'],
  ] as const) {
    const stream = new PassThrough();
    const reader = new GrpcReader(stream, 64);
    stream.end(Buffer.concat([frame(good), bytes]));
    assert.deepEqual((await reader.next()).value, good);
    await assert.rejects(reader.next(), { code });
    await assert.rejects(reader.next(), { code }, 'for good');
  }
});

test('a message of just the bound is taken', async () => {
  const stream = new PassThrough();
  stream.end(frame(new Uint8Array(64)));
  assert.equal((await all(new GrpcReader(stream, 64)))[0]?.length, 64);
});

test('a call that is given up ends whoever waits', async () => {
  const stream = new PassThrough();
  const next = new GrpcReader(stream, 64).next();
  stream.destroy();
  await assert.rejects(next, (error) => error instanceof ConnectError && error.code === Code.Canceled);
});

test('the peer is not read on while messages wait', async () => {
  const stream = new PassThrough();
  const reader = new GrpcReader(stream, 64);
  stream.write(frame(Uint8Array.of(1)));
  await delay(1);
  stream.write(frame(Uint8Array.of(2)));
  await delay(1);
  assert.ok(stream.isPaused());
  assert.deepEqual((await reader.next()).value, Uint8Array.of(1));
  assert.ok(!stream.isPaused());
  assert.deepEqual((await reader.next()).value, Uint8Array.of(2));
});
