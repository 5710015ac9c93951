import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventTypeName } from './event-type.ts';

const LOW = [...Array(0x14).keys()];
const EFI = [...Array(0xe).keys(), 0x10, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4].map((low) => 0x8000_0000 + low);

test('each type of the profile has a name of its own, and any other is told by its number', () => {
  const types = new Set([...LOW, ...EFI]);
  const names = [...types].map(eventTypeName);
  for (const name of names) assert.match(name, /^EV_[A-Z][A-Z0-9_]+$/);
  assert.equal(new Set(names).size, types.size);
  for (const base of [0, 0x8000_0000])
    for (let type = base; type < base + 0x200; type++)
      if (!types.has(type)) assert.equal(eventTypeName(type), `0x${type.toString(16).padStart(8, '0')}`);
});
