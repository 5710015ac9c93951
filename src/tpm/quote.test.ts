import assert from 'node:assert/strict';
import { constants, createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { AK_ATTRIBUTES, bitmapOf, forgeAttest, forgePublicArea, softSignature } from '../../test/simulator/soft-key.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { sha256 } from '../bytes/sha256.ts';
import { isLacreError } from '../lacre-error.ts';
import { parseQuote } from './attest.ts';
import { type VerifiedAttestationKey, verifyAttestationKey } from './attestation-key.ts';
import { ALG, type HashName } from './constants.ts';
import { parsePublicArea } from './public-area.ts';
import { isEndorsementChild, requireEndorsementChild } from './qualified-name.ts';
import { QUOTED_PCRS, VerifiedQuote, verifyQuote } from './quote.ts';
import { isSignedBy, parseSignature } from './signature.ts';

interface QuoteVector {
  note: string;
  akPublicHex: string;
  attestHex: string;
  signatureHex: string;
  extraDataHex: string;
  pcrs: number[];
  pcrValuesHex?: string[];
  verdict: string;
  explains?: boolean;
}

const folder = new URL('../../vectors/tpm/', import.meta.url);

function load<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(path, folder), 'utf8'));
}

function inputOf(vector: QuoteVector) {
  return {
    attest: fromHex(vector.attestHex),
    signature: fromHex(vector.signatureHex),
    key: verifyAttestationKey(parsePublicArea(fromHex(vector.akPublicHex))),
    extraData: fromHex(vector.extraDataHex),
    pcrs: vector.pcrs,
  };
}

const files = readdirSync(new URL('quote/', folder));
for (const file of files) {
  const vector = load<QuoteVector>(`quote/${file}`);
  test(`quote ${file}: ${vector.note}`, () => {
    if (vector.verdict !== 'verified') {
      assert.throws(() => verifyQuote(inputOf(vector)), { code: vector.verdict });
      return;
    }
    const quote = verifyQuote(inputOf(vector));
    const values = (vector.pcrValuesHex ?? []).map((value) => fromHex(value, 32));
    assert.equal(quote.explains(values), vector.explains);
    assert.equal(
      quote.explains(new Map(vector.pcrs.map((pcr, index) => [pcr, values[index] ?? new Uint8Array()]))),
      vector.explains,
    );
    assert.ok(VerifiedQuote.isVerified(quote));
  });
}

const sealed = load<QuoteVector>('quote/sealed-good.json');

test('the sealed node quotes exactly the PCRs that are asked for by default', () => {
  const { pcrs, ...input } = inputOf(sealed);
  assert.deepEqual(pcrs, QUOTED_PCRS);
  const quote = verifyQuote(input);
  assert.deepEqual(quote.pcrs, QUOTED_PCRS);
  assert.equal(quote.clock.safe, true);
});

test('values that are missing, too many, in another order or too short explain nothing', () => {
  const quote = verifyQuote(inputOf(sealed));
  const values = (sealed.pcrValuesHex ?? []).map((value) => fromHex(value, 32));
  assert.ok(quote.explains(values));
  assert.equal(quote.explains(values.slice(1)), false);
  assert.equal(quote.explains([...values, new Uint8Array(32)]), false);
  assert.equal(quote.explains(values.toReversed()), false);
  assert.equal(quote.explains(values.map((value, index) => (index === 3 ? value.subarray(1) : value))), false);
  assert.equal(quote.explains(new Map(values.map((value, index) => [index, value]))), false);
});

test('a quote or a signature cut anywhere, or with a byte more, proves nothing', () => {
  const input = inputOf(sealed);
  for (let length = 0; length < input.attest.length; length++) {
    const attest = input.attest.subarray(0, length);
    assert.throws(() => parseQuote(attest), { code: 'tpm.malformed' }, `${length} bytes`);
    assert.throws(() => verifyQuote({ ...input, attest }), { code: 'tpm.quote.signature' });
  }
  for (let length = 0; length < input.signature.length; length++) {
    assert.throws(() => verifyQuote({ ...input, signature: input.signature.subarray(0, length) }), {
      code: 'tpm.malformed',
    });
  }
  const more = (bytes: Uint8Array) => new Uint8Array([...bytes, 0]);
  assert.throws(() => parseQuote(more(input.attest)), { code: 'tpm.malformed' });
  assert.throws(() => verifyQuote({ ...input, signature: more(input.signature) }), { code: 'tpm.malformed' });
});

test('any flipped bit of quote or signature is refused', () => {
  const input = inputOf(sealed);
  for (const part of ['attest', 'signature'] as const) {
    for (let bit = 0; bit < 8 * input[part].length; bit++) {
      const changed = input[part].slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.throws(() => verifyQuote({ ...input, [part]: changed }), isLacreError, `bit ${bit} of ${part}`);
    }
  }
});

const digest = new Uint8Array(32).fill(5);
const extraData = new Uint8Array(32).fill(9);

/** A key in software with the attributes of an attestation key: the signature is good, so the content is what counts. */
function softKey(pair: { publicKey: KeyObject; privateKey: KeyObject }, algorithm: number, hash: HashName = 'sha256') {
  const area = forgePublicArea(pair.publicKey, { attributes: AK_ATTRIBUTES, scheme: { algorithm, hash } });
  const key: VerifiedAttestationKey = verifyAttestationKey(parsePublicArea(area));
  const verify = (options: Partial<Parameters<typeof forgeAttest>[0]>, saltLength?: number) => {
    const attest = forgeAttest({ extraData, pcrDigest: digest, ...options });
    return verifyQuote({
      attest,
      signature: softSignature(pair.privateKey, algorithm, hash, attest, saltLength),
      key,
      extraData,
    });
  };
  return { key, verify };
}

test('content is looked at even where the signature is good', () => {
  const { verify } = softKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }), ALG.ECDSA);
  const bank = { hash: ALG.SHA256, bitmap: bitmapOf(QUOTED_PCRS) };
  assert.ok(verify({}));
  assert.ok(verify({ banks: [{ hash: ALG.SHA256, bitmap: bitmapOf(QUOTED_PCRS, 4) }] }));
  assert.throws(() => verify({ magic: 0xff544346 }), { code: 'tpm.quote.type' });
  assert.throws(() => verify({ type: 0x8017 }), { code: 'tpm.quote.type' });
  assert.throws(() => verify({ safe: 2 }), { code: 'tpm.malformed' });
  assert.throws(() => verify({ extraData: extraData.subarray(1) }), { code: 'tpm.quote.extra-data' });
  assert.throws(() => verify({ extraData: new Uint8Array() }), { code: 'tpm.quote.extra-data' });
  assert.throws(() => verify({ extraData: new Uint8Array(65) }), { code: 'tpm.malformed' });
  assert.throws(() => verify({ banks: [] }), { code: 'tpm.quote.selection' });
  assert.throws(() => verify({ banks: [bank, bank] }), { code: 'tpm.quote.selection' });
  assert.throws(() => verify({ banks: [bank, { ...bank, hash: ALG.SHA1 }] }), { code: 'tpm.quote.selection' });
  assert.throws(() => verify({ banks: [{ ...bank, hash: ALG.SHA1 }] }), { code: 'tpm.quote.selection' });
  assert.throws(() => verify({ banks: [{ ...bank, hash: ALG.SHA384 }] }), { code: 'tpm.quote.selection' });
  assert.throws(() => verify({ banks: [{ ...bank, bitmap: new Uint8Array() }] }), { code: 'tpm.quote.selection' });
  assert.throws(() => verify({ banks: [{ ...bank, bitmap: bitmapOf([...QUOTED_PCRS, 23]) }] }), {
    code: 'tpm.quote.selection',
  });
  assert.throws(() => verify({ banks: [{ ...bank, bitmap: new Uint8Array(5) }] }), { code: 'tpm.malformed' });
  assert.throws(() => verify({ banks: Array.from({ length: 17 }, () => bank) }), { code: 'tpm.malformed' });
  assert.throws(() => verify({ pcrDigest: new Uint8Array(31) }), { code: 'tpm.quote.selection' });
});

test('RSASSA, RSAPSS with either salt, ECDSA on each curve', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  assert.ok(softKey(rsa, ALG.RSASSA).verify({}));
  assert.ok(softKey(rsa, ALG.RSAPSS).verify({}, constants.RSA_PSS_SALTLEN_DIGEST));
  assert.ok(softKey(rsa, ALG.RSAPSS).verify({}, constants.RSA_PSS_SALTLEN_MAX_SIGN));
  for (const namedCurve of ['P-256', 'P-384', 'P-521']) {
    const { verify } = softKey(generateKeyPairSync('ec', { namedCurve }), ALG.ECDSA);
    for (let round = 0; round < 20; round++) assert.ok(verify({}), namedCurve);
  }
});

test('the digest over the PCRs is by the hash of the key, the values are of the bank that was asked for', () => {
  const values = new Map(QUOTED_PCRS.map((pcr) => [pcr, new Uint8Array(48).fill(pcr)]));
  const banks = [{ hash: ALG.SHA384, bitmap: bitmapOf(QUOTED_PCRS) }];
  for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const scheme = { algorithm: ALG.ECDSA, hash };
    const key = verifyAttestationKey(
      parsePublicArea(forgePublicArea(pair.publicKey, { attributes: AK_ATTRIBUTES, scheme })),
    );
    const pcrDigest = new Uint8Array(
      createHash(hash)
        .update(Buffer.concat([...values.values()]))
        .digest(),
    );
    const attest = forgeAttest({ extraData, pcrDigest, banks });
    const signature = softSignature(pair.privateKey, ALG.ECDSA, hash, attest);
    const quote = verifyQuote({ attest, signature, key, extraData, bank: 'sha384' });
    assert.deepEqual([quote.bank, quote.pcrDigestHash], ['sha384', hash]);
    assert.equal(quote.explains(values), true);
    assert.equal(quote.explains(new Map(values).set(3, new Uint8Array(48))), false);
    assert.equal(quote.explains(new Map(values).set(3, new Uint8Array(32))), false, 'a value of another bank');
    assert.throws(() => verifyQuote({ attest, signature, key, extraData }), { code: 'tpm.quote.selection' });
  }
});

test('a signature in another scheme than the key states is refused', () => {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const { key } = softKey(pair, ALG.RSASSA);
  const attest = forgeAttest({ extraData, pcrDigest: digest });
  for (const [algorithm, hash] of [
    [ALG.RSAPSS, 'sha256'],
    [ALG.RSASSA, 'sha384'],
  ] as const) {
    const signature = softSignature(pair.privateKey, algorithm, hash, attest);
    assert.throws(() => verifyQuote({ attest, signature, key, extraData }), { code: 'tpm.quote.signature' });
  }
});

test('signatures by SHA-1 or by another scheme are not accepted', () => {
  assert.throws(() => parseSignature(fromHex('0014000400020000')), { code: 'tpm.unsupported' });
  assert.throws(() => parseSignature(fromHex('001a000b00020000')), { code: 'tpm.unsupported' });
  assert.throws(() => parseSignature(fromHex('0014000bffff')), { code: 'tpm.malformed' });
});

test('what looks like a verified key or quote is none', () => {
  const input = inputOf(sealed);
  const lookAlike = { ...input.key } as unknown as VerifiedAttestationKey;
  assert.throws(() => verifyQuote({ ...input, key: lookAlike }), TypeError);
  assert.equal(VerifiedQuote.isVerified({ ...verifyQuote(input) }), false);
});

test('the qualified signer shows that the AK lives below this EK', () => {
  const ek = parsePublicArea(fromHex(load<{ ekPublicHex: string }>('endorsement/guest-rsa.json').ekPublicHex));
  const other = parsePublicArea(fromHex(load<{ ekPublicHex: string }>('endorsement/podman-rsa.json').ekPublicHex));
  const input = inputOf(load<QuoteVector>('quote/guest-ima-ng-good.json'));
  const quote = verifyQuote(input);
  const { qualifiedSigner } = quote;
  requireEndorsementChild(quote, ek, input.key.area);
  assert.throws(() => requireEndorsementChild(quote, other, input.key.area), { code: 'tpm.ak.hierarchy' });
  assert.equal(isEndorsementChild(qualifiedSigner, ek, input.key.area), true);
  assert.equal(isEndorsementChild(qualifiedSigner, other, input.key.area), false);
  assert.equal(isEndorsementChild(qualifiedSigner, ek, other), false);
  const alone = sha256(fromHex('4000000b'), input.key.name);
  assert.equal(isEndorsementChild(Buffer.concat([fromHex('000b'), alone]), ek, input.key.area), true);
});

test('a verified quote says what the TPM said of its clock, its firmware and its key, whatever becomes of the bytes', () => {
  const { key, verify } = softKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }), ALG.ECDSA);
  const quote = verify({ clock: 77n, resetCount: 3, safe: 0 });
  assert.deepEqual(quote.clock, { clock: 77n, resetCount: 3, restartCount: 0, safe: false });
  assert.equal(verify({ safe: 1 }).clock.safe, true);
  assert.deepEqual([quote.firmwareVersion, quote.keyNameHex], [7n, key.nameHex]);
  assert.equal(key.nameHex, toHex(key.name));
  const input = inputOf(sealed);
  const attest = parseQuote(input.attest);
  const before = structuredClone(attest);
  input.attest.fill(0xff);
  assert.deepEqual(attest, before);
});

test('nobody else makes a verified quote or key', () => {
  const { key, attest } = inputOf(sealed);
  const asked = { bank: 'sha256', pcrs: QUOTED_PCRS };
  assert.throws(() => Reflect.construct(VerifiedQuote, [Symbol('other'), parseQuote(attest), asked, key]), TypeError);
  assert.throws(() => Reflect.construct(VerifiedQuote, [Symbol('other'), {}, {}, key]), TypeError);
  assert.throws(() => Reflect.construct(key.constructor, [Symbol('other'), key.area, key.scheme]), TypeError);
});

test('a signature by another kind of key than its scheme is for is none; one longer than the curve is malformed', () => {
  const message = new Uint8Array(32);
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const byRsa = parseSignature(softSignature(rsa.privateKey, ALG.RSASSA, 'sha256', message));
  const byEcc = parseSignature(softSignature(ec.privateKey, ALG.ECDSA, 'sha256', message));
  assert.equal(isSignedBy(byRsa, rsa.publicKey, message), true);
  assert.equal(isSignedBy(byRsa, ec.publicKey, message), false);
  assert.equal(isSignedBy(byEcc, rsa.publicKey, message), false);
  assert.equal(isSignedBy(byEcc, generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey, message), false);
  const long = { ...byEcc, parts: [new Uint8Array(33), new Uint8Array(32)] };
  assert.throws(() => isSignedBy(long, ec.publicKey, message), { code: 'tpm.malformed' });
});

test('RSA keys of 3072 and 4096 bits sign quotes', () => {
  for (const modulusLength of [3072, 4096]) {
    const pair = generateKeyPairSync('rsa', { modulusLength });
    for (const algorithm of [ALG.RSASSA, ALG.RSAPSS])
      assert.ok(softKey(pair, algorithm).verify({}), `${modulusLength}`);
  }
});

test('a quote of other PCRs says what was asked for and what it covers', () => {
  const { verify } = softKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }), ALG.ECDSA);
  const banks = [
    { hash: ALG.SHA1, bitmap: bitmapOf([0, 9]) },
    { hash: ALG.NULL, bitmap: bitmapOf([]) },
  ];
  assert.throws(() => verify({ banks }), {
    code: 'tpm.quote.selection',
    details: { expected: 'sha256:0,1,2,3,4,5,6,7,8,9,10,12,13,14', seen: '0x4:0,9 0x10:' },
  });
});
