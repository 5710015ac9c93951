import type { TpmCommand } from '../../src/tpm/command.ts';
import {
  activateCredential,
  createChild,
  createEndorsementPrimary,
  loadChild,
  quotePcrs,
  readPublic,
  startPolicySession,
} from '../../src/tpm/key-commands.ts';
import {
  listCurves,
  listHandles,
  readNv,
  readNvPublic,
  readPcrs,
  readTpmClock,
} from '../../src/tpm/platform-commands.ts';
import { type FuzzTarget, vectorField } from './engine/target.ts';

const some = new Uint8Array(4);
const COMMANDS: readonly TpmCommand<unknown>[] = [
  createEndorsementPrimary(some),
  createChild(1, 2, some),
  loadChild(1, 2, { private: some, public: some }),
  readPublic(1),
  startPolicySession('sha256', new Uint8Array(16)),
  activateCredential(1, 2, 3, some, some),
  quotePcrs(1, some, 'sha256', [0, 10]),
  readPcrs('sha256', [0]),
  readTpmClock(),
  readNvPublic(0x01c00002),
  readNv(0x01c00002, 0x01c00002, 0, 16),
  listHandles(0x80000000, 8),
  listCurves(),
];
const NO_SESSIONS = 0x8001;
const SESSIONS = 0x8002;

/** A successful answer. */
function answer(tag: number, body: Uint8Array): Uint8Array {
  const head = Buffer.alloc(10);
  head.writeUInt16BE(tag);
  head.writeUInt32BE(10 + body.length, 2);
  return new Uint8Array(Buffer.concat([head, body]));
}

function seeds(): Uint8Array[] {
  const bodies = [...vectorField('tpm/quote', 'attestHex').slice(0, 2), new Uint8Array(40)];
  return bodies.flatMap((body) => {
    const sized = Uint8Array.of(body.length >> 8, body.length & 255, ...body);
    const behind = Uint8Array.of(0, 0, sized.length >> 8, sized.length & 255, ...sized);
    return [...COMMANDS.keys()].flatMap((at) => [
      Uint8Array.of(at, ...answer(NO_SESSIONS, sized)),
      Uint8Array.of(at, ...answer(SESSIONS, behind)),
      Uint8Array.of(at, ...answer(SESSIONS, Uint8Array.of(0x80, 0, 0, 0, ...behind))),
    ]);
  });
}

/** The first byte says which command is answered. */
export const target: FuzzTarget = {
  parsers: [
    'src/tpm/response.ts#parseResponse',
    'src/tpm/command.ts#parse',
    'src/tpm/command.ts#read',
    'src/tpm/structure.ts#readStructure',
    'src/tpm/platform-commands.ts#readPcrs',
    'src/tpm/platform-commands.ts#readTpmClock',
    'src/tpm/platform-commands.ts#readNvPublic',
    'src/tpm/platform-commands.ts#readNv',
    'src/tpm/key-commands.ts#readPublic',
  ],
  seeds,
  words: [Uint8Array.of(0x80, 2), Uint8Array.of(0x80, 1), Uint8Array.of(0, 0, 0, 1, 0, 0x0b, 3, 1, 0, 0)],
  maxBytes: 4097,
  run: (bytes) => COMMANDS[(bytes[0] ?? 0) % COMMANDS.length]?.parse(bytes.subarray(1)),
};
