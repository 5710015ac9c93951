import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LacreError } from '../lacre-error.ts';
import { loadAgentConfig, parseAgentConfig } from './config.ts';
import { agentConfigJsonSchema } from './config-schema.ts';

const SMALLEST = 'trust_domain: lacre.test\nserver: lacre.test:8443\nbundle: /etc/lacre/bundle.pem\n';
let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lacre-config-'));
});
after(() => rm(directory, { recursive: true }));

function faults(text: string, over?: Parameters<typeof parseAgentConfig>[2]): string[] {
  try {
    parseAgentConfig('agent.yaml', text, over);
  } catch (error) {
    assert.ok(error instanceof LacreError && error.code === 'agent.config.invalid');
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
  return [];
}

test('what must be given is server, trust domain and bundle; the rest has its standard', () => {
  const config = parseAgentConfig('agent.yaml', SMALLEST);
  assert.equal(config.tpm, 'device:/dev/tpmrm0');
  assert.equal(config.workload_socket, '/run/lacre/agent/workload.sock');
  assert.equal(config.engine.podman?.storage, '/var/lib/containers/storage');
  assert.equal(config.log.level, 'info');
});

test('every fault is told at once, each with its line and column', () => {
  const text = 'trust_domain: Lacre\nserver: nowhere\nbundel: x\nlog:\n  level: loud\n  colour: red\n';
  assert.deepEqual(
    faults(text).map((line) => /^agent\.yaml:(\d+:\d+):/.exec(line)?.[1]),
    ['1:1', '1:15', '2:9', '3:1', '5:10', '6:3'],
  );
  assert.ok(faults(text).some((line) => line.includes('bundel: there is no such key')));
});

test('there is no trust on first use: a configuration without a bundle is refused', () => {
  assert.deepEqual(faults('trust_domain: lacre.test\nserver: lacre.test:8443\n'), [
    'agent.yaml:1:1: bundle: a path is needed',
  ]);
});

test('what is no YAML, no map, or holds a key twice is refused', () => {
  for (const text of [
    'a: [',
    '- a\n',
    `${SMALLEST}server: other:1\n`,
    `a: &a [1]\nb: [${'*a,'.repeat(500)}]\n`,
    'x'.repeat(2 ** 20 + 1),
  ]) {
    assert.ok(faults(text).length > 0, text.slice(0, 40));
  }
});

test('variables lie over the file, flags over both', () => {
  const over = {
    environment: {
      LACRE_AGENT_TPM: 'unix:/run/a',
      LACRE_AGENT_LOG_LEVEL: 'warn',
      LACRE_AGENT_CONFIG: 'x',
      PATH: '/bin',
    },
    flags: { tpm: 'unix:/run/b' },
  };
  const config = parseAgentConfig('agent.yaml', SMALLEST, over);
  assert.equal(config.tpm, 'unix:/run/b');
  assert.equal(config.log.level, 'warn');
});

test('a fault of a variable or flag is told by its name; one that sets nothing is a fault', () => {
  const over = { environment: { LACRE_AGENT_TPM: 'nothing', LACRE_AGENT_TMP: 'x' }, flags: { colour: 'red' } };
  const found = faults(SMALLEST, over);
  assert.ok(
    found.some((line) => line.startsWith('LACRE_AGENT_TPM: tpm: must be device:')),
    found.join('\n'),
  );
  assert.ok(found.includes('LACRE_AGENT_TMP: there is no such setting'));
  assert.ok(found.includes('--colour: there is no such setting'));
});

test('server addresses', async () => {
  const bundle = new URL('../../vectors/agent/bundle.pem', import.meta.url).pathname;
  const file = join(directory, 'agent.yaml');
  const serverOf = async (server: string) => {
    await writeFile(file, `trust_domain: lacre.test\nserver: "${server}"\nbundle: ${bundle}\n`);
    return (await loadAgentConfig(file)).server;
  };
  assert.deepEqual(await serverOf('lacre.test:8443'), { host: 'lacre.test', port: 8443 });
  assert.deepEqual(await serverOf('[::1]:1'), { host: '::1', port: 1 });
  for (const bad of ['lacre.test', ':1', 'a:99999', 'https://a:1', 'a b:1']) {
    await assert.rejects(serverOf(bad), { code: 'agent.config.invalid' });
  }
});

test('a bundle that is absent, empty or malformed is refused with its path', async () => {
  const bundle = join(directory, 'bundle.pem');
  const file = join(directory, 'agent.yaml');
  await writeFile(file, `trust_domain: lacre.test\nserver: lacre.test:8443\nbundle: ${bundle}\n`);
  const refused = { code: 'agent.config.invalid', message: new RegExp(bundle) };
  await assert.rejects(loadAgentConfig(file), refused);
  for (const text of ['', 'not a certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n']) {
    await writeFile(bundle, text);
    await assert.rejects(loadAgentConfig(file), refused);
  }
});

test('docs/agent.schema.json is the schema', async () => {
  const path = new URL('../../docs/agent.schema.json', import.meta.url);
  assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), agentConfigJsonSchema());
});
