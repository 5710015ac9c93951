import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { isLacreError } from '../lacre-error.ts';
import type { TpmCommand } from './command.ts';
import { RC, TAG } from './constants.ts';
import {
  activateCredential,
  certifyKey,
  createChild,
  createEndorsementPrimary,
  flushContext,
  loadChild,
  policySecretEndorsement,
  quotePcrs,
  readPublic,
  startPolicySession,
} from './key-commands.ts';
import {
  extendPcr,
  listBanks,
  listCurves,
  listHandles,
  pcrSelection,
  readNv,
  readNvPublic,
  readPcrs,
  readTpmClock,
  startup,
} from './platform-commands.ts';
import { QUOTED_PCRS } from './quote.ts';
import { responseCode, responseKind, responseSize } from './response.ts';

const some = new Uint8Array(4);
const COMMANDS: readonly TpmCommand<unknown>[] = [
  createEndorsementPrimary(some),
  createChild(1, 2, some),
  loadChild(1, 2, { private: some, public: some }),
  readPublic(1),
  flushContext(1),
  startPolicySession('sha256', new Uint8Array(16)),
  policySecretEndorsement(1),
  activateCredential(1, 2, 3, some, some),
  quotePcrs(1, some, 'sha384', QUOTED_PCRS),
  certifyKey(1, 2, some),
  startup(),
  readPcrs('sha256', [0]),
  extendPcr(10, 'sha384', new Uint8Array(48)),
  readTpmClock(),
  readNvPublic(0x01c00002),
  readNv(0x01c00002, 0x01c00002, 0, 16),
  listHandles(0x80000000, 8),
  listCurves(),
  listBanks(),
];

function answer(tag: number, code: number, body: Uint8Array): Uint8Array {
  return new ByteWriter()
    .u16(tag)
    .u32(10 + body.length)
    .u32(code)
    .bytes(body)
    .finish();
}

test('a quote command is, byte for byte, that of the Library', () => {
  const { bytes } = quotePcrs(0x80000001, fromHex('0102'), 'sha256', QUOTED_PCRS);
  const expected = ['8002', '0000002f', '00000158', '80000001', '00000009', '40000009', '0000', '01', '0000'];
  const parameters = ['0002', '0102', '0010', '00000001', '000b', '03', 'ff7700'];
  const hex = [...expected, ...parameters].join('');
  assert.equal(toHex(bytes), hex.replace('0000002f', (hex.length / 2).toString(16).padStart(8, '0')));
});

test('each command states its own size', () => {
  for (const command of COMMANDS) {
    assert.equal(new DataView(command.bytes.buffer, command.bytes.byteOffset).getUint32(2), command.bytes.length);
  }
});

test('a selection is a bitmap of three bytes', () => {
  assert.equal(toHex(pcrSelection('sha256', [0, 8, 23])), '00000001000b03010180');
  assert.equal(toHex(pcrSelection('sha384', [1])), '00000001000c03020000');
});

test('whatever a TPM answers, each command reads it or throws one of two errors', () => {
  const bodies = fc.uint8Array({ maxLength: 300 });
  const tags = fc.constantFrom(TAG.SESSIONS, TAG.NO_SESSIONS);
  fc.assert(
    fc.property(
      fc.constantFrom(...COMMANDS),
      tags,
      fc.constantFrom(0, 0, 0, RC.RETRY, 0x18b),
      bodies,
      (command, tag, code, body) => {
        try {
          command.parse(answer(tag, code, body));
        } catch (error) {
          assert.ok(isLacreError(error, 'tpm.malformed', 'tpm.response.code'), String(error));
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test('an answer that states another size than it has is malformed', () => {
  const good = answer(TAG.NO_SESSIONS, 0, some);
  for (let length = 0; length < good.length; length++) {
    assert.throws(() => responseCode(good.subarray(0, length)), { code: 'tpm.malformed' });
  }
  assert.throws(() => responseCode(new Uint8Array([...good, 0])), { code: 'tpm.malformed' });
  for (const size of [0, 9, 4097, 0xffffffff]) {
    const header = new ByteWriter().u16(TAG.NO_SESSIONS).u32(size).u32(0).finish();
    assert.throws(() => responseSize(header), { code: 'tpm.malformed' });
  }
});

test('an error code comes with the command and the code', () => {
  assert.throws(() => startup().parse(answer(TAG.NO_SESSIONS, RC.INITIALIZE, new Uint8Array())), {
    code: 'tpm.response.code',
    details: { command: 'TPM2_Startup', rc: RC.INITIALIZE },
  });
});

test('format-one codes lose the number of their handle, session or parameter', () => {
  assert.equal(responseKind(0x18b), RC.HANDLE);
  assert.equal(responseKind(0x98b), RC.HANDLE);
  assert.equal(responseKind(0x1c4), RC.VALUE);
  assert.equal(responseKind(0x1df), RC.INTEGRITY);
  assert.equal(responseKind(RC.RETRY), RC.RETRY);
  assert.equal(responseKind(RC.INITIALIZE), RC.INITIALIZE);
});

test('bytes after the answer of a session are its authorizations, bytes within are read to the last', () => {
  const command = readNv(0x01c00002, 0x01c00002, 0, 2);
  const parameters = new ByteWriter().sized16(fromHex('0102')).finish();
  const body = (extra: string) =>
    answer(TAG.SESSIONS, 0, new ByteWriter().u32(parameters.length).bytes(parameters).bytes(fromHex(extra)).finish());
  assert.deepEqual(command.parse(body('0000010000')), fromHex('0102'));
  const longer = new ByteWriter().u32(5).bytes(parameters).u8(0).finish();
  assert.throws(() => command.parse(answer(TAG.SESSIONS, 0, longer)), { code: 'tpm.malformed' });
  assert.throws(() => command.parse(answer(TAG.NO_SESSIONS, 0, parameters)), { code: 'tpm.malformed' });
});
