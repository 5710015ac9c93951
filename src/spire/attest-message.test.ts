import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { LacreError } from '../lacre-error.ts';
import {
  AttestRequestSchema,
  AttestResponseSchema,
} from '../proto/spire/plugin/agent/workloadattestor/v1/workloadattestor_pb.ts';
import { encodeSelectors, parsePid } from './attest-message.ts';

test('a pid of any size is read as protobuf has it', () => {
  for (const pid of [0, 1, 127, 128, 16_383, 16_384, 4_194_304, 2 ** 28 - 1, 2 ** 28, 2 ** 31 - 1, -1]) {
    assert.equal(parsePid(toBinary(AttestRequestSchema, create(AttestRequestSchema, { pid }))), pid);
  }
});

test('other forms of the same message are read, too', () => {
  assert.equal(parsePid(Uint8Array.of(0x08, 0x87, 0x00)), 7, 'a longer varint than needed');
  assert.equal(parsePid(Uint8Array.of(0x08, 0x01, 0x08, 0x02)), 2, 'the last of two');
  assert.equal(parsePid(Uint8Array.of(0x12, 0x01, 0x61, 0x08, 0x03)), 3, 'after a field of a later version');
});

test('what is no such message is refused', () => {
  for (const bytes of [[0x08], [0x08, 0x80], [0x08, 0xff, 0xff, 0xff, 0xff], [0x07, 0x01]]) {
    assert.throws(
      () => parsePid(Uint8Array.from(bytes)),
      (error) => error instanceof LacreError && error.code === 'spire.workload.pid',
    );
  }
});

test('selectors are written as protobuf writes them', () => {
  const values = ['', 'host:open', 'a'.repeat(127), 'b'.repeat(128), 'c'.repeat(70_000), 'docker:label:name:ü€😀'];
  for (const all of [[], values.slice(1, 2), values]) {
    const expected = toBinary(AttestResponseSchema, create(AttestResponseSchema, { selectorValues: all }));
    const bytes = encodeSelectors(all);
    assert.deepEqual(new Uint8Array(bytes), expected);
    assert.deepEqual(fromBinary(AttestResponseSchema, bytes).selectorValues, all);
  }
});
