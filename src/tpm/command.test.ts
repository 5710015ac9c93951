import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { isLacreError } from '../lacre-error.ts';
import { buildCommand, type TpmCommand } from './command.ts';
import { HANDLE, RC, TAG } from './constants.ts';
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
  assert.equal(responseKind(0x101), 0x101, 'a code without a number keeps all its bits');
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

/** An answer without sessions whose parameters are these. */
const parameters = (body: ByteWriter) => answer(TAG.NO_SESSIONS, RC.SUCCESS, body.finish());
const selectionOf = (...pcrs: number[]) => pcrSelection('sha256', pcrs);

test('PCR values are read by number; another count of values than of PCRs is malformed', () => {
  const value = new Uint8Array(32).fill(7);
  const good = new ByteWriter().u32(1).bytes(selectionOf(0, 9)).u32(2).sized16(value).sized16(value);
  assert.deepEqual([...readPcrs('sha256', [0, 9]).parse(parameters(good)).keys()], [0, 9]);
  for (const count of [0, 1, 3]) {
    const bad = new ByteWriter().u32(1).bytes(selectionOf(0, 9)).u32(count).sized16(value).sized16(value);
    assert.throws(() => readPcrs('sha256', [0, 9]).parse(parameters(bad)), {
      code: 'tpm.malformed',
      details: { structure: 'TPM2_PCR_Read' },
    });
  }
});

test('an NV index says who may read it: itself, the owner, or neither', () => {
  const publicOf = (attributes: number) =>
    new ByteWriter().u16(14).u32(0x01c00002).u16(0x000b).u32(attributes).u16(0).u16(900).u16(0);
  const read = (attributes: number) => readNvPublic(0x01c00002).parse(parameters(publicOf(attributes)));
  assert.deepEqual(read((1 << 18) | (1 << 17)), { index: 0x01c00002, size: 900, reader: 0x01c00002 });
  assert.equal(read(1 << 17).reader, HANDLE.OWNER);
  assert.equal(read(0).reader, undefined);
});

test('capabilities are listed, and those of another kind or without end are malformed', () => {
  const listed = (kind: number, count: number, write: (body: ByteWriter) => ByteWriter) =>
    parameters(write(new ByteWriter().u8(0).u32(kind).u32(count)));
  assert.deepEqual(listHandles(0x81000000, 8).parse(listed(1, 1, (body) => body.u32(0x81010001))), [0x81010001]);
  assert.deepEqual(listCurves().parse(listed(8, 2, (body) => body.u16(3).u16(4))), [3, 4]);
  const banks = new ByteWriter().u8(0).u32(5).u32(3).u16(0x0004).u8(3).bytes(new Uint8Array(3));
  banks
    .u16(0x000c)
    .u8(3)
    .bytes(new Uint8Array(3).fill(255))
    .u16(0x000b)
    .u8(3)
    .bytes(Uint8Array.of(0, 0, 0x80));
  assert.deepEqual(listBanks().parse(parameters(banks)), [0x000c, 0x000b], 'a bank without PCRs is none');
  assert.throws(() => listCurves().parse(listed(1, 0, (body) => body)), {
    code: 'tpm.malformed',
    details: { structure: 'TPM2_GetCapability' },
  });
  assert.throws(() => listHandles(0, 1).parse(listed(1, 257, (body) => body)), { code: 'tpm.malformed' });
});

test('commands that answer with a key, a handle or nothing are read', () => {
  const sessions = (body: ByteWriter, handle?: number) => {
    const inner = body.finish();
    const head = handle === undefined ? new ByteWriter() : new ByteWriter().u32(handle);
    return answer(TAG.SESSIONS, RC.SUCCESS, head.u32(inner.length).bytes(inner).u16(0).u8(1).u16(0).finish());
  };
  const blob = Uint8Array.of(1, 2, 3);
  const nothing = () => new ByteWriter();
  assert.deepEqual(createEndorsementPrimary(some).parse(sessions(nothing().sized16(blob).u32(0), 0x80000000)), {
    handle: 0x80000000,
    public: blob,
  });
  assert.deepEqual(createChild(1, 2, some).parse(sessions(nothing().sized16(some).sized16(blob).u32(0))), {
    private: some,
    public: blob,
  });
  const child = { private: some, public: some };
  assert.equal(loadChild(1, 2, child).parse(sessions(nothing().sized16(blob), 0x80000001)), 0x80000001);
  assert.deepEqual(readPublic(1).parse(parameters(nothing().sized16(blob).u32(0))), blob);
  assert.deepEqual(activateCredential(1, 2, 3, some, some).parse(sessions(nothing().sized16(blob))), blob);
  assert.deepEqual(readNv(1, 1, 0, 3).parse(sessions(nothing().sized16(blob))), blob);
  for (const command of [quotePcrs(1, some, 'sha256', [0]), certifyKey(1, 2, some)]) {
    const quoted = command.parse(sessions(nothing().sized16(blob).bytes(some)));
    assert.deepEqual(quoted, { attest: blob, signature: some });
  }
  const session = nothing().u32(0x03000000).sized16(blob).finish();
  assert.equal(startPolicySession('sha256', some).parse(answer(TAG.NO_SESSIONS, RC.SUCCESS, session)), 0x03000000);
  assert.equal(policySecretEndorsement(1).parse(sessions(nothing().u16(0).u32(0))), undefined);
  assert.equal(extendPcr(10, 'sha256', new Uint8Array(32)).parse(sessions(nothing())), undefined);
  for (const command of [startup(), flushContext(1)]) assert.equal(command.parse(parameters(nothing())), undefined);
  const clock = nothing().u64(1n).u64(2n).u32(3).u32(4).u8(1);
  assert.deepEqual(readTpmClock().parse(parameters(clock)), { clock: 2n, resetCount: 3, restartCount: 4, safe: true });
});

test('an answer has the tag of its command, and no handle where none is asked for', () => {
  const plain = buildCommand({ name: 'plain', code: 1, read: (_, handle) => handle });
  assert.equal(plain.parse(answer(TAG.NO_SESSIONS, RC.SUCCESS, new Uint8Array())), 0);
  assert.throws(() => plain.parse(answer(TAG.SESSIONS, RC.SUCCESS, new Uint8Array())), {
    code: 'tpm.malformed',
    details: { structure: 'answer of plain' },
  });
  const sessions = new ByteWriter().u32(0).u16(0).u8(1).u16(0).finish();
  const authorized = buildCommand({ name: 'authorized', code: 1, sessions: [1], read: () => 'read' });
  assert.equal(authorized.parse(answer(TAG.SESSIONS, RC.SUCCESS, sessions)), 'read');
  assert.throws(() => authorized.parse(answer(TAG.NO_SESSIONS, RC.SUCCESS, sessions)), { code: 'tpm.malformed' });
});
