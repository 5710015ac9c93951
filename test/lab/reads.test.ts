import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import type { ReadsReport } from '../../src/lab/reads/reads-report.ts';
import { bootedLab, leftProcesses, missing, skip, TIME_LIMIT_MS, temporary } from './lab-run.ts';

const LANGUAGES = ['python', 'node', 'shell'];
const BEFORE: Readonly<Record<string, string>> = { python: '/srv/main.py', node: '/srv/app.js', shell: '/srv/main.sh' };
const LATE: Readonly<Record<string, string>> = {
  python: '/etc/service.conf',
  node: '/srv/job.js',
  shell: '/srv/job.sh',
};

test('scripts and settings decide on the identity of interpreted services, on a real kernel', {
  skip,
  timeout: TIME_LIMIT_MS,
}, async (t) => {
  assert.deepEqual(missing, [], 'programs of the lab are missing');
  const { status, output, errors } = await bootedLab(t, ['up', '--reads', '--output', 'json']);
  assert.equal(status, 0, errors);
  const report = JSON.parse(output) as ReadsReport;
  const container = (name: string) => {
    const found = report.containers.find((c) => c.name === name);
    assert.ok(found, name);
    return found;
  };

  await t.test('the kernel keeps what containers read in PCR 13, and the quote covers it', () => {
    const { executed, read, untrusted } = report.measured;
    assert.ok(read > 100 && executed > 100, `${executed} executed, ${read} read`);
    assert.equal(untrusted, 0);
    assert.ok(report.node.entries >= executed + read - 8, 'all but what came last is proven');
  });

  for (const language of LANGUAGES) {
    await t.test(`${language}: as the image is, with coverage of reads`, () => {
      for (const name of [language, `${language}-late`]) {
        const { spiffeId, verdict, selectors } = container(name);
        assert.deepEqual([spiffeId, verdict], [`spiffe://lacre.lab/${name}`, 'trusted']);
        for (const selector of ['coverage:read', 'attribution:exact', 'image:proven', 'config:image'])
          assert.ok(selectors.includes(`lacre:${selector}`), `${name}: ${selectors.join(' ')}`);
      }
    });

    await t.test(`${language}: the script that it is started with was changed`, () => {
      const { spiffeId, verdict, findings } = container(`${language}-changed`);
      assert.deepEqual([spiffeId, verdict], [null, 'refused']);
      const finding = findings.find(({ path }) => path === BEFORE[language]);
      assert.equal(finding?.code, 'appraisal.file.unexpected');
      assert.equal(finding.expectedSha256.length, 1);
      assert.notEqual(finding.expectedSha256[0], finding.seenSha256);
    });

    await t.test(`${language}: a file that it reads again was changed while it ran`, () => {
      const late = report.late.find(({ name }) => name === `${language}-late`);
      assert.ok(late);
      assert.equal(late.path, LATE[language]);
      assert.equal(late.finding?.code, 'appraisal.file.unexpected');
      assert.equal(late.newRequest, 'PermissionDenied');
      const { withdrawnAfterMs } = late;
      assert.ok(withdrawnAfterMs !== null && withdrawnAfterMs < 10_000, `${withdrawnAfterMs} ms`);
    });
  }

  await t.test('whom nobody touched keeps the identity', () => {
    assert.deepEqual(report.kept, LANGUAGES);
  });

  await t.test('nothing of it is left', () => {
    assert.deepEqual(readdirSync(temporary), []);
    assert.deepEqual(leftProcesses(), []);
  });
});
