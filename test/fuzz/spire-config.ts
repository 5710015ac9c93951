import * as z from 'zod';
import { isLacreError } from '../../src/lacre-error.ts';
import { checkEntries } from '../../src/spire/check.ts';
import { checkConfig } from '../../src/spire/check-config.ts';
import { readPluginConfig } from '../../src/spire/plugin-config.ts';
import { WorkloadConfigSchema } from '../../src/spire/workload-config.ts';
import { bytesOf, type FuzzTarget, textOf, tiled } from './engine/target.ts';

const HCL = `# comment
server { trust_domain = "a" /* x */ bind_port = 8081
 ca_ttl = "24h" }
plugins { NodeAttestor "lacre_tpm" { plugin_data { server = "a:1" list = [1, 2.5, true, "x\\n"] doc = <<EOT
text
EOT
} } }
`;
const JSON_TEXT = '{"server": "a:8443", "bundle": "/b", "require": ["host:standard"], "max_evidence_age": "30s"}';
const ENTRIES =
  '{"entries":[{"id":"1","spiffe_id":{"trust_domain":"a","path":"/b"},"selectors":[{"type":"unix","value":"uid:0"}]}]}';

const READERS: readonly ((text: string) => unknown)[] = [
  (text) => checkConfig('spire.conf', text, () => text),
  (text) => checkEntries('entries.json', text),
  (text) => readPluginConfig({ schema: z.record(z.string(), z.unknown()), text }),
];

/** HCL and JSON, as a plugin's configuration, as SPIRE's own, and as its list of entries. */
export const target: FuzzTarget = {
  parsers: [
    'src/spire/hcl-parser.ts#parseHcl',
    'src/spire/plugin-config.ts#readPluginConfig',
    'src/spire/check-config.ts#checkConfig',
    'src/spire/check.ts#checkEntries',
  ],
  seeds: () => [HCL, JSON_TEXT, ENTRIES].map(bytesOf),
  words: [
    '{',
    '}',
    '[',
    ']',
    '=',
    '"',
    '\\',
    '<<EOT\n',
    '\nEOT\n',
    '/*',
    '*/',
    '//',
    '#',
    '\\u0041',
    '0x1f',
    '-1e9',
    'true',
    'server',
    '__proto__',
  ],
  shapes: [
    tiled('['),
    tiled('{'),
    tiled('a {'),
    tiled('a = 1\n'),
    tiled('/*'),
    tiled('<<EOT\n'),
    tiled('"a" ', '', '{}'),
    tiled('x', 'a = "', '"'),
    tiled('\\n', 'a = "', '"'),
    tiled('${', 'a = "'),
    tiled('\n', 'a = <<-E\n', 'E\n'),
    tiled(' '),
    tiled('a=1 ', 'a=[', ']'),
  ],
  maxBytes: 1 << 19,
  fastMs: 500,
  run: (bytes) => {
    const text = textOf(bytes);
    for (const read of READERS) {
      try {
        read(text);
      } catch (error) {
        if (!isLacreError(error)) throw error;
      }
    }
    return readPluginConfig({ schema: WorkloadConfigSchema, text });
  },
};
