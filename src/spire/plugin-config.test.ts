import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkPluginConfig, readPluginConfig } from './plugin-config.ts';
import { loadWorkloadConfig, WorkloadConfigSchema } from './workload-config.ts';

const schema = WorkloadConfigSchema;

test('every fault is told at once, each with its place', () => {
  const text = `server = "nowhere"
sever = "127.0.0.1:1"
max_evidence_age = "1s"
on_drift = "kill"
require = ["host:standard", "host:perfect", "evidence-age:20s"]
tpm = "/dev/tpm0"
tpm = "device:/dev/tpm0"
engine { podman { sockt = "/x" } }`;
  assert.deepEqual(
    checkPluginConfig({ schema, text })
      .faults.map((fault) => fault.slice(0, 60))
      .sort(),
    [
      'plugin_data:1:1: bundle: a path is needed',
      'plugin_data:1:1: server: host:port is needed, such as lacre.',
      'plugin_data:2:1: sever: there is no such key',
      'plugin_data:3:1: max_evidence_age: evidence under a quote ma',
      'plugin_data:4:1: on_drift: must be "none" or "stop"',
      'plugin_data:5:29: require[1]: lacre:host:perfect can never b',
      'plugin_data:5:45: require[2]: max_evidence_age says how old ',
      'plugin_data:7:1: tpm: stands twice',
      'plugin_data:8:19: engine.podman.sockt: there is no such key',
    ],
  );
  assert.throws(() => readPluginConfig({ schema, text }), {
    code: 'spire.config.invalid',
    message: /^plugin_data has 9 faults: /,
  });
});

test('JSON of plugin_data_file is read as HCL is', () => {
  const text = JSON.stringify({
    server: '[::1]:8443',
    bundle: '/b.pem',
    max_evidence_age: '1m',
    constructor: 1,
    ['__proto__']: 2,
  });
  const { faults } = checkPluginConfig({ schema, text });
  assert.deepEqual(faults.map((fault) => fault.replace(/.*?: /, '')).sort(), [
    '__proto__: there is no such key',
    'constructor: there is no such key',
  ]);
  const value = readPluginConfig({ schema, text: '{"server":"[::1]:8443","bundle":"/b.pem","max_evidence_age":"1m"}' });
  assert.equal(value.max_evidence_age, 60_000);
  assert.equal(value.on_drift, 'none');
});

test('however many faults there are, and however long, they fit into one status of gRPC', () => {
  const many = {
    unknown: Array.from({ length: 20_000 }, (_, index) => `key${index} = 1`).join('\n'),
    twice: 'server = 1\n'.repeat(20_000),
    long: `${'k'.repeat(500_000)} = 1\nrequire = ["${'x'.repeat(400_000)}"]`,
    deep: `${'engine { '.repeat(15)}${'}'.repeat(15)}`,
  };
  for (const [name, text] of Object.entries(many)) {
    const { faults, count } = checkPluginConfig({ schema, text });
    assert.ok(count >= faults.length - 1 && faults.length <= 33, name);
    assert.ok(faults.join('; ').length < 8_000, `${name}: ${faults.join('; ').length} characters`);
  }
  assert.throws(() => readPluginConfig({ schema, text: many.unknown }), {
    message: /^plugin_data has 20002 faults: .*; and 19970 more$/,
  });
});

test('the time for faults grows with the text, not with its square', () => {
  const cpuMs = (count: number) => {
    const text = Array.from({ length: count }, (_, index) => `key${index} = 1`).join('\n');
    const before = process.cpuUsage();
    checkPluginConfig({ schema, text });
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  cpuMs(5_000);
  const [small, large] = [cpuMs(4_000), cpuMs(16_000)];
  assert.ok(large < 8 * small + 50, `${small} ms for 4,000 keys, ${large} ms for 16,000`);
});

test('syntax comes first', () => {
  assert.deepEqual(checkPluginConfig({ schema, text: 'server = \n' }).faults, [
    'plugin_data:2:1: the text ends where a value: text in quotes, a number, true, false, a list or an object should be',
  ]);
});

test('a bundle that is none is refused when it is loaded', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-config-'));
  try {
    const bundle = join(folder, 'bundle.pem');
    const file = readPluginConfig({ schema, text: `server = "a:1"\nbundle = "${bundle}"` });
    await assert.rejects(loadWorkloadConfig('lacre.test', file), {
      code: 'spire.config.invalid',
      message: /bundle: .*ENOENT/,
    });
    writeFileSync(bundle, 'not a certificate');
    await assert.rejects(loadWorkloadConfig('lacre.test', file), { code: 'spire.config.invalid', message: /1 to 256/ });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
