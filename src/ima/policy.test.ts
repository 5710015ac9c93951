import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { LIST_PCRS } from './pending-prefixes.ts';
import { imaPolicy, POLICY_PCRS } from './policy.ts';

test('the policy states the pool and keeps the order that first-match rules need', () => {
  const rules = imaPolicy(300_000).trimEnd().split('\n');
  assert.equal(rules.length, 30);
  const at = (text: string) => rules.findIndex((rule) => rule.includes(text));
  assert.ok(at('fsmagic=0x65735546') < at('uid>299999'), 'untrusted file systems come before container rules');
  assert.ok(
    at('func=BPRM_CHECK uid>299999 template=evm-sig') < rules.indexOf('measure func=BPRM_CHECK'),
    'containers come before the host',
  );
  assert.ok(at('mask=MAY_READ uid>299999') < at('dont_measure func=FILE_CHECK fsname=overlay'));
  assert.ok(
    rules.every((rule) => !/pcr=(11|15|16|23)\b/.test(rule)),
    'no PCR that others extend or that can be reset',
  );
});

test('the policy is, to the byte, the one that the sealed sample was recorded under', () => {
  const recorded = new URL('../../vectors/appraisal/sealed/policy', import.meta.url);
  assert.equal(imaPolicy(200_000), readFileSync(recorded, 'utf8'));
  assert.equal(imaPolicy(), imaPolicy(200_000));
  for (const base of [65_536, 2 ** 31 - 1]) assert.ok(imaPolicy(base).includes(` uid>${base - 1} `));
});

test('the policy writes to the PCRs that a list is replayed into', () => {
  assert.deepEqual(Object.values(POLICY_PCRS), LIST_PCRS);
});

test('a pool that overlaps the users of the host is refused', () => {
  for (const base of [0, 1000, 65_535, 1.5, Number.NaN, 2 ** 31])
    assert.throws(() => imaPolicy(base), { code: 'ima.policy.pool' });
});
