import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALG, COMMAND, CURVE, DIGEST_LENGTH, GENERATED, HANDLE, HASH_ID, hashOf, RC, TAG } from './constants.ts';

/** Names with their numbers in hexadecimal, as the tables of Part 2 (revision 1.59) have them. */
const LIBRARY = [
  [ALG, 'RSA 1 SHA1 4 AES 6 SHA256 b SHA384 c SHA512 d NULL 10 RSASSA 14 RSAPSS 16 ECDSA 18 ECC 23 CFB 43'],
  [CURVE, 'P256 3 P384 4 P521 5'],
  [
    COMMAND,
    'CREATE_PRIMARY 131 STARTUP 144 ACTIVATE_CREDENTIAL 147 CERTIFY 148 NV_READ 14e POLICY_SECRET 151 CREATE 153 ' +
      'LOAD 157 QUOTE 158 FLUSH_CONTEXT 165 NV_READ_PUBLIC 169 READ_PUBLIC 173 START_AUTH_SESSION 176 ' +
      'GET_CAPABILITY 17a PCR_READ 17e READ_CLOCK 181 PCR_EXTEND 182',
  ],
  [TAG, 'NO_SESSIONS 8001 SESSIONS 8002 ATTEST_CERTIFY 8017 ATTEST_QUOTE 8018'],
  [HANDLE, 'OWNER 40000001 NULL 40000007 PASSWORD 40000009 ENDORSEMENT 4000000b'],
  [
    RC,
    'SUCCESS 0 INITIALIZE 100 OBJECT_MEMORY 902 SESSION_MEMORY 903 YIELDED 908 TESTING 90a REFERENCE_H0 910 ' +
      'NV_RATE 920 RETRY 922 HANDLE 8b VALUE 84 INTEGRITY 9f',
  ],
  [{ GENERATED }, 'GENERATED ff544347'],
] as const;

test('numbers are those of the Library', () => {
  for (const [numbers, text] of LIBRARY) {
    const seen = Object.entries<number>(numbers).map(([name, value]) => `${name} ${value.toString(16)}`);
    assert.equal(seen.join(' '), text);
  }
});

test('a hash has its number, its name and its length; SHA-1 and what is no hash is none', () => {
  for (const [id, name, length] of [
    [0x000b, 'sha256', 32],
    [0x000c, 'sha384', 48],
    [0x000d, 'sha512', 64],
  ] as const) {
    assert.equal(hashOf(id), name);
    assert.deepEqual([HASH_ID[name], DIGEST_LENGTH[name]], [id, length]);
  }
  for (const other of [0, 0x0004, 0x0010, 0x0027]) assert.equal(hashOf(other), undefined);
});
