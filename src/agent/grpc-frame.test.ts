import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeFrame, encodeStatusMessage } from '../grpc-call.ts';
import { FrameReader, MAX_REQUEST_BYTES } from './grpc-frame.ts';

test('a message comes out whole however its bytes are cut', () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), cuts, (message, sizes) => {
      const frame = encodeFrame(message);
      const reader = new FrameReader();
      let found: Uint8Array | undefined;
      for (let at = 0, index = 0; at < frame.length; index += 1) {
        assert.equal(found, undefined);
        const size = sizes[index % sizes.length] ?? 1;
        found = reader.push(frame.subarray(at, at + size));
        at += size;
      }
      assert.deepEqual(found, message);
    }),
  );
});

test('any bytes give a message, a refusal or a wait, and never more than the bound', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 6_000 }), { maxLength: 4 }), (parts) => {
      const reader = new FrameReader();
      try {
        for (const part of parts) {
          const message = reader.push(Buffer.from(part));
          if (message !== undefined) assert.ok(message.length <= MAX_REQUEST_BYTES);
        }
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'agent.workload.message');
      }
    }),
  );
});

test('a message at the bound is taken, one over it is refused by its length alone', () => {
  assert.equal(new FrameReader().push(encodeFrame(new Uint8Array(MAX_REQUEST_BYTES)))?.length, MAX_REQUEST_BYTES);
  const head = encodeFrame(new Uint8Array(MAX_REQUEST_BYTES + 1)).subarray(0, 5);
  assert.throws(() => new FrameReader().push(head), { code: 'agent.workload.message' });
});

test('status messages are percent-encoded as gRPC over HTTP/2 asks', () => {
  assert.equal(encodeStatusMessage('plain ~ text'), 'plain ~ text');
  assert.equal(encodeStatusMessage('100 %\r\nü'), '100 %25%0D%0A%C3%BC');
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => decodeURIComponent(encodeStatusMessage(text)) === text),
  );
});
