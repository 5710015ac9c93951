import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LacreError } from '../lacre-error.ts';
import { checkEntries, checkSpireFiles } from './check.ts';
import { checkConfig as checkConfigWith } from './check-config.ts';

const files: Record<string, string> = {};
const checkConfig = (name: string, text: string) =>
  checkConfigWith(name, text, (path) => {
    const found = files[path];
    if (found === undefined) throw new LacreError('spire.config.invalid', `${path} can't be read: ENOENT`);
    return found;
  });

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
    { ...entry('others', 'k8s_psat:cluster:x'), parent_id: { trust_domain: 'a.test', path: '/spire/server' } },
    entry('joined', 'spiffe_id:spiffe://a.test/spire/agent/join_token/1'),
  ];
  const notes = checkEntries('e', JSON.stringify({ entries, next_page_token: '' }));
  assert.deepEqual(
    notes.map(({ missing, sentence }) => [missing, sentence.slice(0, 37)]),
    [
      [true, 'entry plain of spiffe://a.test/plain '],
      [false, 'entry others of spiffe://a.test/other'],
      [false, 'entry joined of spiffe://a.test/joine'],
    ],
    'an alias of nodes is worth knowing, and gives nobody an identity',
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

test('a full configuration of spire-server: silent TTLs, sockets that differ, a file of data', async () => {
  files['/etc/spire/lacre.json'] = '{"on_host_failure": "ban", "spire_socket": "/run/other.sock"}';
  const full = (attestor: string, socket = '# socket_path = "/tmp/x.sock"') => `# All that it knows.
server {
    bind_address = "127.0.0.1"
    bind_port = "8081"
    ca_subject {
        country = ["BR"]
        common_name = ""
    }
    federation {
        bundle_endpoint {
            port = 8443
            profile "https_web" { acme { domain_name = "a.test" } }
        }
        federates_with "b.test" {
            bundle_endpoint_profile "https_spiffe" { endpoint_spiffe_id = "spiffe://b.test/spire/server" }
        }
    }
    ratelimit = { attestation = true }
    ${socket}
    trust_domain = "a.test"
}
plugins {
    DataStore "sql" {
        plugin_data {
            database_type "aws_mysql" { region = "" }
        }
    }
    NodeAttestor "join_token" {}
    NodeAttestor "lacre_tpm" {
        plugin_cmd = "/usr/bin/lacre"
        plugin_checksum = "00"
        ${attestor}
    }
}
telemetry { Prometheus { port = 9988 } }
`;
  const missing = async (...text: Parameters<typeof full>) =>
    checkConfig('f', full(...text))
      .filter((note) => note.missing)
      .map(({ sentence }) => sentence);
  const notes = checkConfig('f', full('plugin_data {}')).map(({ sentence }) => sentence.split(' ')[1]);
  assert.deepEqual(notes, ['default_x509_svid_ttl', 'default_jwt_svid_ttl', 'agent_ttl']);
  const ofFile = 'plugin_data_file = "/etc/spire/lacre.json"';
  const differs = (spire: string, own: string, action: string) =>
    `f: spire_socket is ${spire}, and spire-server's socket_path ${own}: no agent would be acted on (${action})`;
  const usual = '/tmp/spire-server/private/api.sock';
  assert.deepEqual(await missing(ofFile), [differs('/run/other.sock', usual, 'ban')]);
  assert.deepEqual(await missing(ofFile, 'socket_path = "/run/other.sock"'), []);
  assert.deepEqual(await missing('plugin_data {}', 'socket_path = "/run/a.sock"'), [
    differs(usual, '/run/a.sock', 'evict'),
  ]);
  assert.deepEqual(await missing('plugin_data { on_host_failure = "none" }', 'socket_path = "/run/a.sock"'), []);
  assert.deepEqual(await missing('plugin_data_file = "/nowhere"'), ["/nowhere can't be read: ENOENT"]);
  files['/faulty'] = '{"spire_sock": 1}';
  const line =
    full('')
      .split('\n')
      .findIndex((text) => text.includes('lacre_tpm')) + 1;
  assert.deepEqual(await missing('enabled = false plugin_data {} plugin_data_file = "/faulty"'), [
    `f:${line}: NodeAttestor "lacre_tpm" is not enabled`,
    `f:${line}: NodeAttestor "lacre_tpm" has both plugin_data and plugin_data_file: SPIRE takes one`,
    '/faulty:1:2: spire_sock: there is no such key',
  ]);
});

test('a file of data is opened where it lies, and one that is not there is told of', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-check-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const [config, data] = [join(folder, 'server.conf'), join(folder, 'lacre.json')];
  const plugin = `plugin_cmd = "/usr/bin/lacre" plugin_checksum = "00" plugin_data_file = "${data}"`;
  writeFileSync(config, `server {}\nplugins { NodeAttestor "lacre_tpm" { ${plugin} } }`);
  const missing = async () =>
    (await checkSpireFiles([config], undefined)).filter((note) => note.missing).map(({ sentence }) => sentence);
  assert.deepEqual(await missing(), [`${data} can't be read: ENOENT`]);
  writeFileSync(data, '{"on_host_failure": "kill"}');
  assert.deepEqual(await missing(), [`${data}:1:2: on_host_failure: must be "none", "evict" or "ban"`]);
});
