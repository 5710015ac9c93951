import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { NodeInfoSchema } from '../../proto/lacre/v1/admin_pb.ts';
import { gradeOf } from './grade-step.ts';
import { type GradesReport, gradesText, unexpectedGrades } from './grades-report.ts';

const node = (trusted: boolean, ...grades: string[]) =>
  create(NodeInfoSchema, { host: { trusted, selectors: grades.map((grade) => `lacre:host:${grade}`) } });

test('the grade is the highest of a trusted verdict', () => {
  assert.equal(gradeOf(node(true, 'open', 'standard', 'sealed')), 'sealed');
  assert.equal(gradeOf(node(true, 'open')), 'open');
  assert.equal(gradeOf(node(false, 'open', 'standard')), 'refused');
  assert.equal(gradeOf(undefined), 'refused');
});

test('what is not as expected is told', () => {
  const step = {
    what: 'booted',
    expected: 'sealed',
    grade: 'sealed',
    findings: [],
    afterMs: 1,
    asExpected: true,
  } as const;
  const prepare = { status: 0, standardLacks: [], sealedLacks: ['verity'] };
  const of = (change: object, prepared: object = {}): GradesReport => ({
    boots: [{ name: 'n', commandLine: '', steps: [{ ...step, ...change }], prepare: { ...prepare, ...prepared } }],
    timingsMs: {},
  });
  assert.deepEqual(unexpectedGrades(of({})), []);
  assert.match(unexpectedGrades(of({ grade: 'open', asExpected: false })).join(), /booted: open, where sealed/);
  assert.match(unexpectedGrades(of({}, { status: 3, standardLacks: ['initrd'] })).join(), /finds missing: initrd/);
  assert.match(unexpectedGrades(of({}, { sealedLacks: [] })).join(), /says nothing of what sealed lacks/);
  assert.match(gradesText(of({}), [], []), /Every grade was as expected/);
});
