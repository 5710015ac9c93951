import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EnvironmentName_Relation as Relation } from '../proto/lacre/v1/record_pb.ts';
import { compareEnvironment } from './environment.ts';

test('names are compared with the image’s; values stay out', () => {
  const compared = compareEnvironment(
    ['PATH=/bin', 'HOME=/root', 'LD_PRELOAD=/x.so', 'EMPTY'],
    ['PATH=/bin', 'HOME=/', 'GONE=1', 'EMPTY='],
  );
  assert.deepEqual(compared, [
    { name: 'EMPTY', relation: Relation.EQUAL },
    { name: 'GONE', relation: Relation.MISSING },
    { name: 'HOME', relation: Relation.DIFFERS },
    { name: 'LD_PRELOAD', relation: Relation.ADDED },
    { name: 'PATH', relation: Relation.EQUAL },
  ]);
  assert.doesNotMatch(JSON.stringify(compared), /x\.so|root/);
});

test('a name that stands twice with different values differs, whichever of them a program takes', () => {
  const [once, evil] = [['PATH=/bin'], ['PATH=/bin', 'PATH=/evil']];
  for (const [inside, expected] of [
    [evil, once],
    [evil.toReversed(), once],
    [once, evil],
    [once, evil.toReversed()],
    [evil, evil],
  ] as const)
    assert.deepEqual(compareEnvironment(inside, expected), [{ name: 'PATH', relation: Relation.DIFFERS }]);
  assert.equal(compareEnvironment([...once, ...once], once)[0]?.relation, Relation.EQUAL, 'twice the same');
});

test('values may hold the sign of equality, names may be empty', () => {
  assert.deepEqual(compareEnvironment(['A=b=c', '=x'], ['A=b=c']), [
    { name: '', relation: Relation.ADDED },
    { name: 'A', relation: Relation.EQUAL },
  ]);
  for (const name of ['', 'A'])
    assert.deepEqual(compareEnvironment([`${name}=x`], [`${name}=y`]), [{ name, relation: Relation.DIFFERS }]);
});
