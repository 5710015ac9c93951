import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fatalFinding, findingMessage, toldFinding } from './finding.ts';

const FACTS = { path: '/a', expectedSha256: new Set(['ab', 'cd']), seenSha256: 'ef', logIndex: 0 };
const SAID = { subject: 'c', detail: 'it is so' };

test('a finding has the link of its code, and the facts that are given', () => {
  const whole = { link: 'ima', code: 'ima.digest.weak', ...SAID, ...FACTS, expectedSha256: ['ab', 'cd'] };
  assert.deepEqual(fatalFinding('ima.digest.weak', 'c', 'it is so', FACTS), { ...whole, fatal: true });
  assert.deepEqual(toldFinding('ima.digest.weak', 'c', 'it is so', FACTS), { ...whole, fatal: false });
  const bare = { link: 'tpm', code: 'tpm.clock.unsafe', ...SAID, expectedSha256: [] };
  assert.deepEqual(fatalFinding('tpm.clock.unsafe', 'c', 'it is so'), { ...bare, fatal: true });
  const absent = { path: undefined, expectedSha256: undefined, seenSha256: undefined, logIndex: undefined };
  assert.deepEqual(toldFinding('tpm.clock.unsafe', 'c', 'it is so', absent), { ...bare, fatal: false });
});

test('a finding travels with all that it says; what is absent is empty, a position -1', () => {
  const { $typeName: _, ...whole } = findingMessage(fatalFinding('ima.digest.weak', 'c', 'it is so', FACTS));
  const said = { link: 'ima', code: 'ima.digest.weak', ...SAID, fatal: true };
  assert.deepEqual(whole, { ...said, ...FACTS, expectedSha256: ['ab', 'cd'], logIndex: 0n });
  const { $typeName: __, ...bare } = findingMessage(toldFinding('tpm.clock.unsafe', 'c', 'it is so'));
  const nothing = { path: '', expectedSha256: [], seenSha256: '', logIndex: -1n };
  assert.deepEqual(bare, { link: 'tpm', code: 'tpm.clock.unsafe', ...SAID, ...nothing, fatal: false });
});
