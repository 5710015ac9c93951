import { parseAgentConfig } from '../../src/agent/config.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { parseConfig } from '../../src/server/config.ts';
import { bytesOf, type FuzzTarget, textOf, tiled } from './engine/target.ts';

/** YAML, as the configuration of the server and of the agent. */
export const target: FuzzTarget = {
  parsers: [
    'src/server/config.ts#parseConfig',
    'src/agent/config.ts#parseAgentConfig',
    'src/config-file.ts#readConfigFile',
    'src/server/config-schema.ts#parseDurationMs',
  ],
  seeds: () =>
    [
      'trust_domain: lab.example\nlisten: "[::1]:9443"\nca:\n  key: memory\n  ttl: 1h30m\n',
      'trust_domain: a\nserver: a:1\nbundle: /b\n',
    ].map(bytesOf),
  words: [
    'trust_domain',
    ': ',
    '- ',
    '\n  ',
    '&a ',
    '*a',
    '!!binary ',
    '<<',
    '? ',
    '|\n',
    '{',
    '[',
    '1h',
    '%YAML',
    '---\n',
    '"',
  ],
  shapes: [tiled('['), tiled('{a: '), tiled('&a [*a,', 'a: '), tiled('a: b\n'), tiled('- ')],
  maxBytes: 8 * 1024,
  fastMs: 400,
  run: (bytes) => {
    const text = textOf(bytes);
    try {
      parseAgentConfig('agent.yaml', text);
    } catch (error) {
      if (!isLacreError(error)) throw error;
    }
    return parseConfig('server.yaml', text);
  },
};
