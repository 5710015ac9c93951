import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, HOST_FILES, SYSTEM } from './approved-system.ts';
import { MemoryKernel } from './memory-kernel.ts';

const OWN = { path: '/bin/own', sha256: digestOf('own') };
const OTHER = { path: '/bin/other', sha256: digestOf('other') };

function measured(files: readonly (typeof OWN)[], origin?: MemoryKernel): MemoryKernel {
  const kernel = new MemoryKernel(SYSTEM, origin);
  for (const file of files) kernel.measureHost(file);
  return kernel;
}

test('a kernel that begins with what another has measured goes on as if it had measured that itself', () => {
  const origin = measured(HOST_FILES);
  const copy = measured([...HOST_FILES, OWN], origin);
  const alone = measured([...HOST_FILES, OWN]);
  assert.deepEqual(copy.list, alone.list);
  assert.deepEqual(copy.pcrs, alone.pcrs);
  assert.deepEqual(copy.eventLog, alone.eventLog);
});

test('what one of them measures later, the other has not', () => {
  const origin = measured(HOST_FILES);
  const copy = new MemoryKernel(SYSTEM, origin);
  copy.measureHost(OWN);
  origin.measureHost(OTHER);
  assert.deepEqual(origin.list, measured([...HOST_FILES, OTHER]).list);
  assert.deepEqual(copy.list, measured([...HOST_FILES, OWN]).list);
  copy.measureHost(OTHER);
  assert.deepEqual(copy.pcrs, measured([...HOST_FILES, OWN, OTHER]).pcrs);
});
