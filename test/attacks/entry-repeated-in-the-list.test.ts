import { test } from 'node:test';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { refusesForgedList } from './forged-list-fixture.ts';

// An entry stands twice, to shift those after it, or to have the good one counted for the bad one.

const skip = skipWithoutSoftwareTpm();

test('an entry is counted once for each time that the TPM saw it', { skip }, async () => {
  await refusesForgedList('ima.prefix.unexplained', (entries) => [...entries.slice(0, -1), ...entries.slice(-2)]);
});
