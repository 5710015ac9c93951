import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Attack } from './attack.ts';
import { CONTAINER_ATTACKS } from './container-attacks.ts';
import { HOST_ATTACKS } from './host-attacks.ts';

const all = (plan: typeof HOST_ATTACKS): Attack[] => [...plan.first, ...plan.beside.flat(), ...plan.last];
const ATTACKS = [...all(CONTAINER_ATTACKS), ...all(HOST_ATTACKS)];

test('an attack has a name of its own, which a container can have', () => {
  assert.equal(new Set(ATTACKS.map(({ name }) => name)).size, ATTACKS.length);
  for (const { name } of ATTACKS) assert.match(name, /^[a-z][a-z-]{1,60}$/);
});

test('an attack does something, and comes to something that is seen', () => {
  for (const { name, container, before, host, orders, expected } of ATTACKS) {
    assert.ok(container ?? before ?? host ?? orders, name);
    assert.notEqual(expected.code ?? expected.asked ?? expected.errno, undefined, name);
  }
});

test('a finding that counts by its path is of no earlier attack of the same boot', () => {
  for (const plan of [CONTAINER_ATTACKS, HOST_ATTACKS]) {
    const shared = all(plan).filter(
      ({ expected }) => expected.code === 'appraisal.file.unattributed' || expected.identity === undefined,
    );
    const paths = shared.flatMap(({ expected }) => expected.path ?? []);
    assert.equal(new Set(paths).size, paths.length);
  }
});

test('the threat model names every attack of the plan, and no other', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../THREAT-MODEL.md'), 'utf8');
  const lists = [...page.matchAll(/`test\/lab\/attack\.test\.ts` \(([^)]*)\)/g)];
  const named = lists.flatMap(([, list = '']) => [...list.matchAll(/`([a-z-]+)`/g)].map(([, name = '']) => name));
  assert.deepEqual(named.toSorted(), ATTACKS.map(({ name }) => name).toSorted());
});
