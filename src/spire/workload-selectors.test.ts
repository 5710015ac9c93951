import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Selector } from '../appraisal/selector/selector.ts';
import { RequiredOfAll, selectorValues } from './workload-selectors.ts';

const OWN = [
  `lacre:image:sha256:${'1'.repeat(64)}`,
  'lacre:image-name:registry.test/app:1',
  'lacre:entrypoint:/bin/app',
  'lacre:attribution:exact',
  'lacre:config:image',
  'lacre:coverage:exec',
  'lacre:host:standard',
  'lacre:root:vtpm',
  'lacre:caller:init',
  'docker:label:tier:web',
  'unix:uid:0',
];
const missingOf = (require: readonly Selector[], selectors: readonly string[]) =>
  new RequiredOfAll(require).missing(selectors);
const require = (...values: string[]) => values.map((value) => ({ type: 'lacre', value }));

test('SPIRE gets each rung that a stricter one fulfils, docker’s forms, and no uid', () => {
  assert.deepEqual(selectorValues(OWN), [
    'attribution:exact',
    'attribution:shared',
    'caller:init',
    'config:changed',
    'config:image',
    'coverage:exec',
    'docker:label:tier:web',
    'entrypoint:/bin/app',
    'host:open',
    'host:standard',
    'image-name:registry.test/app:1',
    `image:sha256:${'1'.repeat(64)}`,
    'root:software',
    'root:vtpm',
  ]);
});

test('what is required of every workload is compared where it has rungs, and must be there otherwise', () => {
  assert.equal(missingOf([], OWN), undefined);
  assert.equal(
    missingOf(require('attribution:shared', 'root:software', 'image-name:registry.test/app:1'), OWN),
    undefined,
  );
  assert.match(missingOf(require('host:sealed'), OWN) ?? '', /host is standard, and sealed is required/);
  assert.match(missingOf(require('container:closed'), OWN) ?? '', /container:closed is required/);
  const open = OWN.map((one) => (one === 'lacre:host:standard' ? 'lacre:host:open' : one));
  assert.match(
    missingOf([], open) ?? '',
    /host is open, and standard is required/,
    'an open host is never accepted unasked',
  );
  assert.equal(missingOf(require('host:open'), open), undefined);
  const exec = OWN.map((one) => (one === 'lacre:caller:init' ? 'lacre:caller:exec' : one));
  assert.match(missingOf([], exec) ?? '', /exec/);
  assert.equal(missingOf(require('exec:allowed'), exec), undefined);
});
