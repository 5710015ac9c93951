import { test } from 'node:test';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { refusesForgedList } from './forged-list-fixture.ts';

// Two entries change places, so that a bad one stands where another container is told of, or before the container began.

const skip = skipWithoutSoftwareTpm();

test('entries stand in the order in which the TPM saw them', { skip }, async () => {
  await refusesForgedList('ima.prefix.unexplained', (entries) => [
    ...entries.slice(0, -2),
    ...entries.slice(-2).toReversed(),
  ]);
});
