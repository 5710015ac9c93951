import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import type { AttackReport } from '../../src/lab/attack/attack-up.ts';
import { bootedLab, leftProcesses, missing, skip, TIME_LIMIT_MS, temporary } from './lab-run.ts';

const KERNELS = { '6.12': /^6\.12\./, '6.1': /^6\.1\./ };

/** By which finding some of them are refused, on either kernel; the others' are in the plan, and held against by `faults`. */
const CODES: Readonly<Record<string, string>> = {
  'program-changed-before-the-start': 'appraisal.file.unexpected',
  'program-replaced-while-it-runs': 'appraisal.file.unexpected',
  'good-program-in-anothers-place': 'appraisal.file.unexpected',
  'good-program-under-another-name': 'appraisal.file.unknown',
  'library-loaded-before-the-others': 'appraisal.file.unknown',
  'deleted-before-the-execution': 'appraisal.file.unknown',
  'program-in-a-memfd': 'ima.name.unknown',
  'mapped-while-open-for-writing': 'container.attribution.lost',
  'program-in-a-tmpfs': 'appraisal.file.unattributed',
  'asker-brought-in-by-exec': 'container.caller.exec',
  'owner-forged-from-a-nested-namespace': 'container.attribution.shared',
  privileged: 'container.attribution.host',
  'program-that-nobody-approved': 'appraisal.file.unknown',
  'pcr-extended-by-hand': 'ima.list.unexplained',
};

for (const [kernel, version] of Object.entries(KERNELS)) {
  test(`attacks by real processes in real containers, on Linux ${kernel}`, {
    skip,
    timeout: TIME_LIMIT_MS,
  }, async (t) => {
    assert.deepEqual(missing, [], 'programs of the lab are missing');
    const { status, output, errors } = await bootedLab(t, ['up', '--attacks', '--kernel', kernel, '--output', 'json']);
    assert.equal(status, 0, errors);
    const { kernel: booted, nodes, attacks } = JSON.parse(output) as AttackReport;

    await t.test('each came to what it should', () => {
      assert.ok(attacks.length >= 20, `${attacks.length} attacks`);
      assert.deepEqual(
        attacks.flatMap(({ faults }) => faults),
        [],
      );
    });

    await t.test('refused by the finding that names it', () => {
      const codes = new Map(attacks.map(({ name, code }) => [name, code]));
      for (const [name, code] of Object.entries(CODES)) assert.equal(codes.get(name), code, name);
    });

    await t.test('a signed module from memory: 6.12 logs it, 6.1 does not', () => {
      const told = attacks.find(({ name }) => name === 'module-from-memory')?.refusedBy;
      assert.equal(told?.includes('ima.module.unknown'), kernel === '6.12');
    });

    await t.test('attacks of containers cost the others nothing, and those of the host cost the node', () => {
      const costly = attacks.filter(({ by, neighbour }) => by === 'container' && neighbour === 'loses');
      const kept = attacks.filter(({ by, neighbour }) => by === 'container' && neighbour === 'keeps');
      assert.ok(kept.length >= 20 && costly.length <= 3, `${kept.length} kept, ${costly.length} lost`);
      assert.ok(attacks.some(({ by, neighbour }) => by === 'host' && neighbour === 'loses'));
    });

    await t.test('on the kernel that was asked for', () => {
      assert.match(booted, version);
      for (const node of nodes) assert.equal(node.kernel, booted);
    });

    await t.test('nothing of it is left', () => {
      assert.deepEqual(readdirSync(temporary), []);
      assert.deepEqual(leftProcesses(), []);
    });
  });
}
