import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkConfigFile, flagValues } from '../config-file.ts';
import { isLacreError } from '../lacre-error.ts';
import { type ConfigOver, parseConfig } from './config.ts';
import { ConfigFileSchema, configJsonSchema, parseDurationMs } from './config-schema.ts';

function faults(text: string, over: ConfigOver = {}): string[] {
  const source = {
    schema: ConfigFileSchema,
    name: 't.yaml',
    text,
    prefix: 'LACRE_SERVER_',
    code: 'server.config.invalid',
  } as const;
  const { faults } = checkConfigFile({ ...source, ...over });
  assert.ok(faults.length > 0, 'no fault was found');
  return faults.map(({ source, place, key }) => `${source ?? `${place?.line}:${place?.column}`} ${key}`);
}

test('the least file gives every default', () => {
  const config = parseConfig('a.yaml', 'trust_domain: lab.example');
  assert.equal(config.trustDomain.name, 'lab.example');
  assert.deepEqual(config.listen, { host: '127.0.0.1', port: 8443 });
  assert.equal(config.admin.socket, '/run/lacre/server/admin.sock');
  assert.equal(config.verifier, undefined, 'nobody is asked to listen for a SPIRE');
  assert.equal(config.dataDir, '/var/lib/lacre/server');
  assert.equal(config.ca.svidTtlMs, 300_000);
  assert.equal(config.ca.key, 'disk');
  assert.deepEqual(config.endorsement.roots, []);
  assert.equal(config.quoteIntervalMs, 15_000);
  assert.equal(config.pollIntervalMs, 250);
});

test('a full file is read with its units', () => {
  const text = `
trust_domain: lab.example
listen: "[::1]:9443"
admin: { socket: /tmp/a.sock }
verifier: { socket: /tmp/v/v.sock, group: spire }
data_dir: /tmp/data
ca:
  key: memory
  ttl: 1h30m
  svid_ttl: 90s
  subject: { organization: Lab, common_name: Lab CA }
endorsement:
  roots:
    - { path: roots.pem, tier: software }
quote_interval: 5s
poll_interval: 100ms
log: { level: debug, format: json }
limits: { sessions: 5 }
`;
  const config = parseConfig('a.yaml', text);
  assert.deepEqual(config.listen, { host: '::1', port: 9443 });
  assert.deepEqual(config.verifier, { socket: '/tmp/v/v.sock', group: 'spire' });
  assert.equal(config.ca.ttlMs, 5_400_000);
  assert.equal(config.ca.svidTtlMs, 90_000);
  assert.deepEqual(config.endorsement.roots, [{ path: 'roots.pem', tier: 'software' }]);
  assert.equal(config.pollIntervalMs, 100);
  assert.equal(config.limits.sessions, 5);
});

test('every fault is told at once, each with its line and column', () => {
  const text = `trust_domain: Lab.Example
listen: nowhere
colour: red
verifier: { group: "a:b" }
ca:
  ttl: 5 minutes
  svidttl: 5m
endorsement:
  roots:
    - path: roots.pem
      tier: gold
    - tier: vtpm
quote_interval: 0s
limits:
  sessions: many
`;
  assert.deepEqual(faults(text), [
    '1:15 trust_domain',
    '2:9 listen',
    '3:1 colour',
    '4:1 verifier.socket',
    '4:20 verifier.group',
    '6:8 ca.ttl',
    '7:3 ca.svidttl',
    '11:13 endorsement.roots[0].tier',
    '12:7 endorsement.roots[1].path',
    '13:17 quote_interval',
    '15:13 limits.sessions',
  ]);
  assert.throws(
    () => parseConfig('server.yaml', text),
    (error) =>
      isLacreError(error, 'server.config.invalid') &&
      /11 faults/.test(error.message) &&
      /server\.yaml:3:1: colour: there is no such key/.test(error.message),
  );
});

test('a missing key is told where it should be', () => {
  assert.deepEqual(faults('listen: 127.0.0.1:1\n'), ['1:1 trust_domain']);
  assert.deepEqual(faults(''), ['1:1 trust_domain']);
});

test('what is no YAML, or no mapping, is told with its place', () => {
  assert.deepEqual(faults('trust_domain: [a\nlisten: b\n').length > 0, true);
  assert.deepEqual(faults('trust_domain: a\ntrust_domain: b\n'), ['2:1 ']);
  assert.deepEqual(faults('- a\n- b\n'), ['1:1 ']);
  assert.deepEqual(faults('just text'), ['1:1 ']);
  assert.deepEqual(faults(`trust_domain: a\n#${'x'.repeat(1024 * 1024)}`), ['1:1 ']);
});

test('aliases that multiply are refused, and in time', () => {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
  for (let index = 1; index < 12; index++) {
    lines.push(
      `a${index}: &a${index} [${Array(10)
        .fill(`*a${index - 1}`)
        .join(', ')}]`,
    );
  }
  assert.ok(faults(lines.join('\n')).length > 0);
});

test('variables win over the file and flags over variables; a fault names its source', () => {
  const environment = { LACRE_SERVER_CA_SVID_TTL: '2m', LACRE_SERVER_LIMITS_SESSIONS: '7', HOME: '/root' };
  const over = { environment, flags: { 'ca-svid-ttl': '1m', listen: undefined } };
  const config = parseConfig('a.yaml', 'trust_domain: lab.example\nca: { svid_ttl: 3m }\n', over);
  assert.equal(config.ca.svidTtlMs, 60_000);
  assert.equal(config.limits.sessions, 7);
  const bad = { environment: { LACRE_SERVER_CA_TTL: 'soon', LACRE_SERVER_TRUST_DOMAIN: 'A' } };
  assert.deepEqual(
    new Set(faults('{}', bad)),
    new Set(['LACRE_SERVER_CA_TTL ca.ttl', 'LACRE_SERVER_TRUST_DOMAIN trust_domain']),
  );
});

test('a misspelt variable or flag is refused, not passed over', () => {
  const text = 'trust_domain: lab.example';
  assert.deepEqual(faults(text, { environment: { LACRE_SERVER_CA_SVIDTTL: '2m' } }), ['LACRE_SERVER_CA_SVIDTTL ']);
  assert.deepEqual(faults(text, { flags: { 'ca-svidttl': '2m' } }), ['--ca-svidttl ']);
  assert.equal(
    parseConfig('t', text, { environment: { LACRE_SERVER_CONFIG: '/etc/x' } }).trustDomain.name,
    'lab.example',
  );
  assert.throws(() => flagValues(['--listen'], 'server.config.invalid'), { code: 'server.config.invalid' });
  assert.deepEqual(flagValues(['--listen', 'a:1', '--data-dir=/x=y'], 'server.config.invalid'), {
    listen: 'a:1',
    'data-dir': '/x=y',
  });
});

test('durations are read, and what is none is not', () => {
  const cases = { '5m': 300_000, '1h30m': 5_400_000, '250ms': 250, '1d': 86_400_000, '1m1ms': 60_001, '0s': 0 };
  for (const [text, ms] of Object.entries(cases)) assert.equal(parseDurationMs(text), ms, text);
  for (const text of ['', '5', 'm', '5 m', '-5m', '1.5h', '5s5m', '5M', '999999999999s']) {
    assert.equal(parseDurationMs(text), undefined, text);
  }
});

test('docs/server.schema.json is that of this program', () => {
  const published = readFileSync(join(import.meta.dirname, '../../docs/server.schema.json'), 'utf8');
  assert.deepEqual(JSON.parse(published), JSON.parse(JSON.stringify(configJsonSchema())), 'run scripts/generate.ts');
});
