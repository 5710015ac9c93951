import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { isLacreError } from '../lacre-error.ts';
import type { TpmCommand } from './command.ts';
import { TAG } from './constants.ts';
import {
  activateCredential,
  certifyKey,
  createChild,
  createEndorsementPrimary,
  quotePcrs,
  readPublic,
  startPolicySession,
} from './key-commands.ts';
import { listCurves, listHandles, pcrSelection, readNv, readNvPublic, readPcrs } from './platform-commands.ts';
import { responseSize } from './response.ts';

const none = new Uint8Array();
const empty = () => new ByteWriter();
const sized = (length: number) => empty().sized16(new Uint8Array(length));

/** An answer with its header; `inSession`: with the parameters' size before them and an authorization after them. */
function answer(body: ByteWriter, inSession = false, handle?: number): Uint8Array {
  const parameters = body.finish();
  const rest = empty();
  if (handle !== undefined) rest.u32(handle);
  if (inSession) rest.u32(parameters.length).bytes(parameters).u16(0).u8(1).u16(0);
  else rest.bytes(parameters);
  const bytes = rest.finish();
  return empty()
    .u16(inSession ? TAG.SESSIONS : TAG.NO_SESSIONS)
    .u32(10 + bytes.length)
    .u32(0)
    .bytes(bytes)
    .finish();
}

/** What is bounded, the command, its answer with as much of it, and the most that is read. */
const BOUNDS: readonly (readonly [string, () => TpmCommand<unknown>, (length: number) => Uint8Array, number])[] = [
  ['a primary key', () => createEndorsementPrimary(none), (length) => answer(sized(length), true, 1), 1024],
  ['a private half', () => createChild(1, 2, none), (length) => answer(sized(length).sized16(none), true), 2048],
  [
    'a public half',
    () => createChild(1, 2, none),
    (length) => answer(empty().sized16(none).bytes(sized(length).finish()), true),
    1024,
  ],
  ['a public area', () => readPublic(1), (length) => answer(sized(length)), 1024],
  ['a nonce', () => startPolicySession('sha256', none), (length) => answer(sized(length), false, 1), 64],
  ['a credential', () => activateCredential(1, 2, 3, none, none), (length) => answer(sized(length), true), 64],
  ['a quote', () => quotePcrs(1, none, 'sha256', []), (length) => answer(sized(length).u64(0n), true), 2048],
  ['a certification', () => certifyKey(1, 2, none), (length) => answer(sized(length).u64(0n), true), 2048],
  ['a piece of NV', () => readNv(1, 1, 0, 100), (length) => answer(sized(length), true), 100],
  [
    'a PCR value',
    () => readPcrs('sha256', [0]),
    (length) =>
      answer(
        empty()
          .u32(0)
          .bytes(pcrSelection('sha256', [0]))
          .u32(1)
          .bytes(sized(length).finish()),
      ),
    64,
  ],
  [
    'the policy of an NV index',
    () => readNvPublic(1),
    (length) => answer(empty().bytes(new Uint8Array(12)).bytes(sized(length).finish()).u16(0)),
    64,
  ],
  [
    'a list of handles',
    () => listHandles(0, 300),
    (count) =>
      answer(
        empty()
          .u8(0)
          .u32(1)
          .u32(count)
          .bytes(new Uint8Array(4 * count)),
      ),
    256,
  ],
  [
    'a list of curves',
    () => listCurves(),
    (count) =>
      answer(
        empty()
          .u8(0)
          .u32(8)
          .u32(count)
          .bytes(new Uint8Array(2 * count)),
      ),
    256,
  ],
];

for (const [what, commandOf, make, bound] of BOUNDS) {
  test(`${what} of ${bound} is read and stays when the answer changes, one more is malformed`, () => {
    const command = commandOf();
    const bytes = make(bound);
    const read = command.parse(bytes);
    const before = structuredClone(read);
    bytes.fill(0xff);
    assert.deepEqual(read, before);
    assert.throws(() => command.parse(make(bound + 1)), { code: 'tpm.malformed' });
  });
}

test('an answer has 10 to 4,096 bytes', () => {
  const header = (size: number) => empty().u16(TAG.NO_SESSIONS).u32(size).u32(0).finish();
  const isRead = (size: number) => {
    try {
      return responseSize(header(size)) === size;
    } catch (error) {
      if (isLacreError(error, 'tpm.malformed')) return false;
      throw error;
    }
  };
  assert.deepEqual([0, 9, 10, 4096, 4097, 0xffff_ffff].map(isRead), [false, false, true, true, false, false]);
});
