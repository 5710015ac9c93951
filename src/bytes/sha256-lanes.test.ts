import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Sha256Lanes } from './sha256-lanes.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test('every length up to six blocks gives what OpenSSL gives, in each lane', () => {
  const lanes = new Sha256Lanes();
  const source = new Uint8Array(randomBytes(1024));
  for (let length = 0; length <= 384; length++) {
    lanes.load(source, 0, source.length);
    const starts = [0, 7, 64, 101];
    const lengths = [length, 384 - length, (length * 7) % 500, 0];
    for (const [lane, start] of starts.entries()) lanes.set(lane, start, start + (lengths[lane] ?? 0));
    lanes.run(4);
    starts.forEach((start, lane) => {
      const expected = sha256(source.subarray(start, start + (lengths[lane] ?? 0)));
      assert.equal(Buffer.from(lanes.digest(lane)).toString('hex'), expected, `${lengths[lane]} bytes in lane ${lane}`);
    });
  }
});

test('fewer than four messages, and long ones', () => {
  const lanes = new Sha256Lanes();
  const source = new Uint8Array(randomBytes(Sha256Lanes.CAPACITY));
  lanes.load(source, 0, source.length);
  lanes.set(0, 0, source.length);
  lanes.set(1, 5, 70);
  lanes.run(2);
  assert.equal(Buffer.from(lanes.digest(0)).toString('hex'), sha256(source));
  assert.equal(Buffer.from(lanes.digest(1)).toString('hex'), sha256(source.subarray(5, 70)));
});

test('a fold is SHA-256 of the PCR and the digest', () => {
  const lanes = new Sha256Lanes();
  const pcrs = [0, 1, 2].map(() => new Uint8Array(randomBytes(32)));
  let expected = pcrs.map((pcr) => Buffer.from(pcr));
  lanes.setPcrs(Buffer.concat(pcrs));
  for (let round = 0; round < 200; round++) {
    const message = new Uint8Array(randomBytes(round));
    lanes.load(message, 0, message.length);
    lanes.set(0, 0, message.length);
    lanes.run(1);
    const slot = round % 3;
    lanes.fold(slot, 0, round % 64);
    expected = expected.map((pcr, at) =>
      at === slot
        ? createHash('sha256').update(pcr).update(createHash('sha256').update(message).digest()).digest()
        : pcr,
    );
    assert.deepEqual(Buffer.from(lanes.pcrs()), Buffer.concat(expected));
    const value = lanes.values(64).subarray(32 * (round % 64), 32 * (round % 64) + 32);
    assert.deepEqual(Buffer.from(value), expected[slot]);
  }
});
