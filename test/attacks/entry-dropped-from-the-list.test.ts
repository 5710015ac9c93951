import { test } from 'node:test';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { refusesForgedList } from './forged-list-fixture.ts';

// An entry is taken out of the middle of the list; all that came before and after it is genuine. The bad one, which no quote covers yet,
// or one behind the index that a session before has verified already: the new session's evidence must explain itself.

const skip = skipWithoutSoftwareTpm();

test('an entry that is left out is missed', { skip }, async () => {
  await refusesForgedList('ima.prefix.unexplained', (entries) => entries.filter((_, at) => at !== entries.length - 2));
});

test('so is one that was verified before', { skip }, async () => {
  await refusesForgedList('ima.prefix.unexplained', (entries) => entries.filter((_, at) => at !== 3));
});
