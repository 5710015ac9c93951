import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import type { LabReport } from '../../src/lab/lab-report.ts';
import type { SpireReport } from '../../src/lab/spire/spire-report.ts';
import { interopProgram } from '../interop/interop-program.ts';
import { bootedLab, lab, leftProcesses, missing, skip, TIME_LIMIT_MS, temporary } from './lab-run.ts';

test('a container has an identity while it is as approved, on a real kernel', {
  skip,
  timeout: TIME_LIMIT_MS,
}, async (t) => {
  assert.deepEqual(missing, [], 'programs of the lab are missing');
  const { status, output, errors } = await bootedLab(t, ['up', '--output', 'json']);
  assert.equal(status, 0, errors);
  const report = JSON.parse(output) as LabReport;
  const container = (name: string) => {
    const found = report.containers.find((c) => c.name === name);
    assert.ok(found, name);
    return found;
  };

  await t.test('the node is enrolled with its TPM', () => {
    assert.match(report.node.spiffeId ?? '', /^spiffe:\/\/lacre\.lab\/spire\/agent\/lacre_tpm\/[0-9a-f]{32}$/);
    assert.equal(report.node.rootOfTrust, 'software');
    assert.ok(report.node.entries > 100, `${report.node.entries} entries`);
  });

  await t.test('orders and payments have an identity each', () => {
    for (const name of ['orders', 'payments']) {
      const { spiffeId, verdict, attribution, findings } = container(name);
      assert.deepEqual(
        { spiffeId, verdict, attribution },
        { spiffeId: `spiffe://lacre.lab/${name}`, verdict: 'trusted', attribution: 'exact' },
      );
      assert.deepEqual(findings, []);
    }
  });

  await t.test('rogue is refused for the file that was changed', () => {
    const { spiffeId, verdict, attribution, findings } = container('rogue');
    assert.deepEqual({ spiffeId, verdict, attribution }, { spiffeId: null, verdict: 'refused', attribution: 'exact' });
    const finding = findings.find(({ code }) => code === 'appraisal.file.unexpected');
    assert.equal(finding?.path, '/bin/service');
    assert.match(finding.seenSha256 ?? '', /^[0-9a-f]{64}$/);
    assert.equal(finding.expectedSha256.length, 1);
    assert.notEqual(finding.expectedSha256[0], finding.seenSha256);
    assert.ok((finding.logIndex ?? -1) > 0);
  });

  await t.test('stranger is refused for its image', () => {
    const { spiffeId, verdict, findings } = container('stranger');
    assert.deepEqual({ spiffeId, verdict }, { spiffeId: null, verdict: 'refused' });
    assert.ok(findings.some(({ code }) => code === 'appraisal.image.unknown'));
  });

  await t.test('a changed file that runs costs orders its identity, and payments nothing', () => {
    const { container: name, withdrawnAfterMs, newRequest, othersKept } = report.drift;
    assert.deepEqual(
      { name, newRequest, othersKept },
      { name: 'orders', newRequest: 'PermissionDenied', othersKept: true },
    );
    assert.ok(
      withdrawnAfterMs !== null && withdrawnAfterMs >= 0 && withdrawnAfterMs < 10_000,
      `${withdrawnAfterMs} ms`,
    );
  });

  await t.test('nothing of it is left', () => {
    assert.deepEqual(readdirSync(temporary), []);
  });
});

test('Ctrl-C leaves no process and no folder', { skip, timeout: TIME_LIMIT_MS }, async () => {
  const { status, errors } = await lab(['up'], /booting the node/);
  assert.notEqual(status, 0);
  assert.match(errors, /the lab was stopped/);
  assert.deepEqual(readdirSync(temporary), []);
  assert.deepEqual(leftProcesses(), []);
});

const spireServer = skip === false ? interopProgram('spire-server') : { absent: skip };
const withoutSpire = 'absent' in spireServer ? spireServer.absent : false;

test('the same with an unmodified SPIRE: it gives identities to whom the plugins vouch for', {
  skip: withoutSpire,
  timeout: TIME_LIMIT_MS,
}, async (t) => {
  const { status, output, errors } = await bootedLab(t, ['up', '--spire', '--output', 'json']);
  assert.equal(status, 0, errors);
  const report = JSON.parse(output) as SpireReport;
  const container = (name: string) => {
    const found = report.containers.find((c) => c.name === name);
    assert.ok(found, name);
    return found;
  };

  await t.test('spire-server has the agent under the ID of its EK, with what Lacre says of the host', () => {
    assert.match(report.node.spiffeId ?? '', /^spiffe:\/\/lacre\.lab\/spire\/agent\/lacre_tpm\/[0-9a-f]{32}$/);
    for (const selector of ['lacre_tpm:root:software', 'lacre_tpm:host:standard', 'lacre_tpm:node:lab'])
      assert.ok(report.node.selectors.includes(selector), report.node.selectors.join(' '));
  });

  await t.test('orders and payments have an SVID of SPIRE each', () => {
    for (const name of ['orders', 'payments']) {
      const { spiffeId, verdict, attribution, refusal } = container(name);
      assert.deepEqual(
        { spiffeId, verdict, attribution, refusal },
        { spiffeId: `spiffe://lacre.lab/${name}`, verdict: 'trusted', attribution: 'exact', refusal: null },
      );
    }
  });

  await t.test("rogue and stranger have none, and spire-agent's log says why", () => {
    const rogue = container('rogue');
    assert.deepEqual([rogue.spiffeId, rogue.verdict], [null, 'refused']);
    assert.match(rogue.refusal ?? '', /\/bin\/service was executed with other content than the image has/);
    const stranger = container('stranger');
    assert.deepEqual([stranger.spiffeId, stranger.verdict], [null, 'refused']);
    assert.match(stranger.refusal ?? '', /nobody approved the image localhost\/spiffe-stranger:1/);
  });

  await t.test('drift: orders is stopped and kept, and no other', () => {
    const { container: name, noticedAfterMs, stoppedAfterMs, kept, othersRunning } = report.drift;
    assert.deepEqual({ name, kept, othersRunning }, { name: 'orders', kept: true, othersRunning: true });
    assert.ok(noticedAfterMs !== null && noticedAfterMs >= 0 && noticedAfterMs < 10_000, `${noticedAfterMs} ms`);
    assert.ok(stoppedAfterMs !== null && stoppedAfterMs < 60_000, `${stoppedAfterMs} ms`);
  });

  await t.test('nothing of it is left', () => {
    assert.deepEqual(readdirSync(temporary), []);
    assert.deepEqual(leftProcesses(), []);
  });
});

test('Ctrl-C ends SPIRE and its plugin too', { skip: withoutSpire, timeout: TIME_LIMIT_MS }, async () => {
  const { status, errors } = await lab(['up', '--spire'], /booting the node/);
  assert.notEqual(status, 0);
  assert.match(errors, /the lab was stopped/);
  assert.deepEqual(readdirSync(temporary), []);
  assert.deepEqual(leftProcesses(), []);
});
