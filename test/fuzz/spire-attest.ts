import assert from 'node:assert/strict';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { isLacreError } from '../../src/lacre-error.ts';
import { AttestRequestSchema } from '../../src/proto/spire/plugin/agent/workloadattestor/v1/workloadattestor_pb.ts';
import { parsePid } from '../../src/spire/attest-message.ts';
import type { FuzzTarget } from './engine/target.ts';

const requestOf = (pid: number) => toBinary(AttestRequestSchema, create(AttestRequestSchema, { pid }));

/** What protobuf reads, and nothing else. */
export const target: FuzzTarget = {
  parsers: ['src/spire/attest-message.ts#parsePid'],
  seeds: () => [requestOf(7), requestOf(4_194_304), requestOf(2 ** 31 - 1), requestOf(-1)],
  words: [Uint8Array.of(0x08), Uint8Array.of(0x80, 0x80), Uint8Array.of(0x12, 0x01, 0x61)],
  maxBytes: 1 << 12,
  run: (bytes) => {
    try {
      const pid = parsePid(bytes);
      assert.equal(pid, fromBinary(AttestRequestSchema, bytes).pid);
      return pid;
    } catch (error) {
      if (!isLacreError(error)) throw error;
      assert.throws(() => fromBinary(AttestRequestSchema, bytes));
      throw error;
    }
  },
};
