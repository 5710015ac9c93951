import { test } from 'node:test';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { refusesForgedList } from './forged-list-fixture.ts';

// The bad entry is taken out of the middle of the list; all that came before and after it is genuine.

const skip = skipWithoutSoftwareTpm();

test('an entry that is left out is missed', { skip }, async () => {
  await refusesForgedList('ima.prefix.unexplained', (entries) => entries.filter((_, at) => at !== entries.length - 2));
});
