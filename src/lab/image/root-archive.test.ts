import assert from 'node:assert/strict';
import { test } from 'node:test';
import { archiveInputs, KERNELS, kernelOf, ROOT_PACKAGES } from './root-archive.ts';

test('a kernel is known by its series', () => {
  for (const series of Object.keys(KERNELS)) assert.equal(kernelOf(series), series);
  for (const series of ['6', '6.13', '', 'constructor'])
    assert.throws(() => kernelOf(series), { code: 'lab.kernel.unknown' });
});

test('archives of different packages have different inputs', () => {
  assert.notDeepEqual(archiveInputs(KERNELS['6.1']), archiveInputs(ROOT_PACKAGES));
});
