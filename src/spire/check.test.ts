import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkConfig, checkEntries, checkSpireFiles } from './check.ts';

const entry = (id: string, ...selectors: string[]) => ({
  id,
  spiffe_id: { trust_domain: 'a.test', path: `/${id}` },
  selectors: selectors.map((text) => ({ type: text.split(':')[0], value: text.slice(text.indexOf(':') + 1) })),
});

test('entries without a lacre selector are named, and no others', () => {
  const entries = [
    entry('plain', 'unix:uid:0'),
    entry('proven', 'lacre:image-name:x', 'unix:uid:0'),
    entry('alias', 'lacre_tpm:root:vtpm'),
  ];
  const notes = checkEntries('e', JSON.stringify({ entries, next_page_token: '' }));
  assert.deepEqual(
    notes.map(({ missing, sentence }) => [missing, sentence.slice(0, 37)]),
    [[true, 'entry plain of spiffe://a.test/plain ']],
  );
  for (const text of ['', '[]', '{"entries":[{}]}'])
    assert.throws(() => checkEntries('e', text), { code: 'spire.config.invalid' });
});

test('an agent: the plugin, its checksum, and every fault of its data with its place in the file', () => {
  const text = `agent { trust_domain = "a.test" }
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
  WorkloadAttestor "lacre" {
    plugin_cmd = "/usr/bin/lacre"
    plugin_data {
      server = "a:1"
      bundel = "/b"
    }
  }
}`;
  assert.deepEqual(
    checkConfig('f', text).map(({ missing, sentence }) => [missing, sentence]),
    [
      [true, 'f:5: WorkloadAttestor "lacre" has no plugin_checksum: whatever lies at plugin_cmd is run'],
      [true, 'f:7:17: bundle: a path is needed'],
      [true, 'f:9:7: bundel: there is no such key'],
      [false, 'f: there is no NodeAttestor "lacre_tpm" among the plugins'],
    ],
  );
});

test('the same in JSON, blocks of one name in a list', () => {
  const lacre = { plugin_cmd: '/usr/bin/lacre', plugin_checksum: 'x', plugin_data: { server: 'a:1', bundel: '/b' } };
  const config = {
    agent: { trust_domain: 'a.test' },
    plugins: { NodeAttestor: [{ join_token: {} }], WorkloadAttestor: [{ unix: { plugin_data: {} } }, { lacre }] },
  };
  for (const plugins of [config.plugins, [config.plugins]]) {
    const text = JSON.stringify({ ...config, plugins });
    const at = (key: string) => `f:1:${text.indexOf(key) + 1}`;
    assert.deepEqual(
      checkConfig('f', text).map(({ missing, sentence }) => [missing, sentence]),
      [
        [true, `${at('{"server"')}: bundle: a path is needed`],
        [true, `${at('"bundel"')}: bundel: there is no such key`],
        [false, 'f: there is no NodeAttestor "lacre_tpm" among the plugins'],
      ],
    );
  }
});

test('a server: TTLs that outlast what they should', () => {
  const text = 'server { default_x509_svid_ttl = "1h30m" default_jwt_svid_ttl = "1m" agent_ttl = "never" }\nplugins {}';
  const notes = checkConfig('f', text).map(({ sentence }) => sentence.split(' ').slice(1, 4).join(' '));
  assert.deepEqual(notes, ['default_x509_svid_ttl is over', 'agent_ttl is over', 'there is no']);
  assert.deepEqual(
    checkConfig('f', 'server { default_x509_svid_ttl = "5m" default_jwt_svid_ttl = "60s" agent_ttl = "10m" }').length,
    1,
  );
});

test('what is no configuration of SPIRE is refused', async () => {
  assert.throws(() => checkConfig('f', 'x = 1'), { code: 'spire.config.invalid' });
  assert.throws(() => checkConfig('f', 'server {'), { code: 'spire.config.invalid' });
  await assert.rejects(checkSpireFiles(['/nowhere/x'], undefined), { code: 'spire.config.invalid' });
});
