import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
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
  readNv,
  readNvPublic,
  readPcrs,
  readTpmClock,
  startup,
} from './platform-commands.ts';

const blob = fromHex('010203');
/** TPMS_AUTH_COMMAND of a session: no nonce, continueSession, no HMAC (Part 2, 10.13.2). */
const session = (handle: string) => `${handle} 0000 01 0000`;
const password = session('40000009');
/** inSensitive, inPublic, outsideInfo, creationPCR (Part 3, 12.1 and 24.1). */
const creation = '0004 0000 0000 0003 010203 0000 00000000';
const nonce = '0102030405060708090a0b0c0d0e0f10';

/** Tag, size, TPM_CC; handles; authorizations with their size; parameters (Part 1, 18). `slow`: makes a key. */
const COMMANDS: readonly (readonly [string, () => TpmCommand<unknown>, string, 'slow'?])[] = [
  [
    'TPM2_CreatePrimary',
    () => createEndorsementPrimary(blob),
    `8002 0000002c 00000131 4000000b 00000009 ${password} ${creation}`,
    'slow',
  ],
  [
    'TPM2_Create',
    () => createChild(0x81010001, 0x03000000, blob),
    `8002 0000002c 00000153 81010001 00000009 ${session('03000000')} ${creation}`,
    'slow',
  ],
  [
    'TPM2_Load',
    () => loadChild(0x81010001, 0x03000000, { private: fromHex('aa'), public: blob }),
    `8002 00000023 00000157 81010001 00000009 ${session('03000000')} 0001 aa 0003 010203`,
  ],
  ['TPM2_ReadPublic', () => readPublic(0x80000001), '8001 0000000e 00000173 80000001'],
  ['TPM2_FlushContext', () => flushContext(0x80000001), '8001 0000000e 00000165 80000001'],
  [
    'TPM2_StartAuthSession',
    () => startPolicySession('sha384', fromHex(`${nonce}ff`)),
    `8001 0000002b 00000176 40000007 40000007 0010 ${nonce} 0000 01 0010 000c`,
  ],
  [
    'TPM2_PolicySecret',
    () => policySecretEndorsement(0x03000000),
    `8002 00000029 00000151 4000000b 03000000 00000009 ${password} 0000 0000 0000 00000000`,
  ],
  [
    'TPM2_ActivateCredential',
    () => activateCredential(0x80000001, 0x80000000, 0x03000000, fromHex('0001aa'), fromHex('0001bb')),
    `8002 0000002e 00000147 80000001 80000000 00000012 ${password} ${session('03000000')} 0001aa 0001bb`,
  ],
  [
    'TPM2_Quote',
    () => quotePcrs(0x80000001, blob, 'sha384', [0, 10, 23]),
    `8002 0000002c 00000158 80000001 00000009 ${password} 0003 010203 0010 00000001 000c 03 010480`,
  ],
  [
    'TPM2_Certify',
    () => certifyKey(0x80000002, 0x80000001, blob),
    `8002 0000002f 00000148 80000002 80000001 00000012 ${password} ${password} 0003 010203 0010`,
  ],
  ['TPM2_Startup', () => startup(), '8001 0000000c 00000144 0000'],
  ['TPM2_PCR_Read', () => readPcrs('sha256', [7]), '8001 00000014 0000017e 00000001 000b 03 800000'],
  [
    'TPM2_PCR_Extend',
    () => extendPcr(10, 'sha256', new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)),
    `8002 00000063 00000182 0000000a 00000009 ${password} 00000002 000b ${'01'.repeat(32)} 000b ${'02'.repeat(32)}`,
  ],
  ['TPM2_ReadClock', () => readTpmClock(), '8001 0000000a 00000181'],
  ['TPM2_NV_ReadPublic', () => readNvPublic(0x01c00002), '8001 0000000e 00000169 01c00002'],
  [
    'TPM2_NV_Read',
    () => readNv(0x01c00002, 0x40000001, 512, 256),
    `8002 00000023 0000014e 40000001 01c00002 00000009 ${password} 0100 0200`,
  ],
  ['TPM2_GetCapability', () => listHandles(0x81000000, 9), '8001 00000016 0000017a 00000001 81000000 00000009'],
  ['TPM2_GetCapability', () => listBanks(), '8001 00000016 0000017a 00000005 00000000 00000001'],
  ['TPM2_GetCapability', () => listCurves(), '8001 00000016 0000017a 00000008 00000000 00000040'],
];

for (const [name, make, hex, slow] of COMMANDS) {
  test(`${name} is, byte for byte, that of the Library (${hex.slice(5, 13)} bytes)`, () => {
    const command = make();
    assert.equal(toHex(command.bytes), hex.replaceAll(' ', ''));
    assert.equal(command.name, name);
    assert.equal(command.isSlow, slow !== undefined, 'only what makes a key may take minutes');
    const failed = new ByteWriter().u16(TAG.NO_SESSIONS).u32(10).u32(RC.RETRY).finish();
    assert.throws(() => command.parse(failed), { code: 'tpm.response.code', details: { command: name, rc: RC.RETRY } });
  });
}
