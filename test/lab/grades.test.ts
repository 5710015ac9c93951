import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import type { GradesReport } from '../../src/lab/grades/grades-report.ts';
import { bootedLab, leftProcesses, missing, skip, TIME_LIMIT_MS, temporary } from './lab-run.ts';

test('host grades, what takes them, and lacre node prepare on a Debian, on a real kernel', {
  skip,
  timeout: TIME_LIMIT_MS,
}, async (t) => {
  assert.deepEqual(missing, [], 'programs of the lab are missing');
  const { status, output, errors } = await bootedLab(t, ['up', '--grades', '--output', 'json']);
  assert.equal(status, 0, errors);
  const { boots } = JSON.parse(output) as GradesReport;
  const boot = (name: string) => {
    const found = boots.find((one) => one.name === name);
    assert.ok(found, name);
    return found;
  };
  const codes = (name: string, step: number) => boot(name).steps[step]?.findings.map(({ code }) => code) ?? [];

  await t.test('sealed: a root that dm-verity checks, and nothing that speaks against it', () => {
    const { commandLine, steps } = boot('sealed');
    assert.match(commandLine, /dm-mod\.create="root,,,ro,0 \d+ verity 1 .* sha256 [0-9a-f]{64} -"/);
    assert.equal(steps[0]?.grade, 'sealed');
    assert.deepEqual(new Set(codes('sealed', 0)), new Set(['ima.data.measured']));
  });

  await t.test('a violation, then an engine’s client, take it; an unknown program takes the node', () => {
    const { steps } = boot('sealed');
    assert.deepEqual(
      steps.map(({ grade }) => grade),
      ['sealed', 'standard', 'standard', 'refused'],
    );
    assert.ok(codes('sealed', 1).includes('ima.violation'));
    assert.ok(codes('sealed', 2).includes('appraisal.tool.present'));
    const unknown = steps[3]?.findings.find(({ code }) => code === 'appraisal.file.unknown');
    assert.equal(unknown?.path, '/var/lib/lacre/unknown');
    for (const { what, afterMs } of steps) assert.ok(afterMs < 10_000, `${what}: ${afterMs} ms`);
  });

  await t.test('standard: a Debian with its own initrd, which lacre node prepare made ready', () => {
    const { commandLine, steps, prepare } = boot('debian');
    assert.match(commandLine, /rdinit=\/lacre\/seal/);
    assert.equal(steps[0]?.grade, 'standard');
    assert.ok(codes('debian', 0).includes('appraisal.tool.present'));
    assert.ok(codes('debian', 0).includes('appraisal.root.unverified'));
    assert.deepEqual([prepare?.status, prepare?.standardLacks], [0, []]);
    assert.deepEqual(prepare?.sealedLacks, ['command line: dm-mod.create="…verity…"', 'no general-purpose tool']);
  });

  await t.test('open: a command line that leaves the kernel open', () => {
    assert.equal(boot('open').steps[0]?.grade, 'open');
    for (const code of ['appraisal.kernel.open', 'appraisal.memory.open', 'appraisal.root.unverified'])
      assert.ok(codes('open', 0).includes(code), code);
  });

  await t.test('nothing of it is left', () => {
    assert.deepEqual(readdirSync(temporary), []);
    assert.deepEqual(leftProcesses(), []);
  });
});
