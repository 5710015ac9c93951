import { LacreError } from '../lacre-error.ts';
import { configJsonSchema } from './config-schema.ts';

/** A setting from outside the file: it wins over what the file says. */
export interface ConfigOverride {
  readonly path: readonly string[];
  readonly value: string;
  /** The variable's or flag's name, for messages. */
  readonly source: string;
}

/** One scalar setting: its path in the file, and its names outside. */
export interface ConfigSetting {
  readonly path: readonly string[];
  readonly kind: 'string' | 'integer';
  /** As LACRE_SERVER_CA_SVID_TTL. */
  readonly variable: string;
  /** As --ca-svid-ttl. */
  readonly flag: string;
  readonly description: string;
}

const PREFIX = 'LACRE_SERVER_';
/** Names the file itself; read by the command line. */
const FILE_VARIABLE = 'LACRE_SERVER_CONFIG';

/** Every scalar setting of the file, from its schema: lists (endorsement.roots) are set in the file only. */
export const CONFIG_SETTINGS: readonly ConfigSetting[] = settingsOf(configJsonSchema() as SchemaNode, []);

interface SchemaNode {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
}

function settingsOf(node: SchemaNode, path: readonly string[]): ConfigSetting[] {
  if (node.properties !== undefined) {
    return Object.entries(node.properties).flatMap(([name, child]) => settingsOf(child, [...path, name]));
  }
  if (node.type !== 'string' && node.type !== 'integer') return [];
  const joined = path.join('_');
  return [
    {
      path,
      kind: node.type,
      variable: PREFIX + joined.toUpperCase(),
      flag: `--${joined.replaceAll('_', '-')}`,
      description: node.description ?? '',
    },
  ];
}

/**
 * Overrides from LACRE_SERVER_* variables.
 * Codes: server.config.invalid for a variable of that prefix that is no setting: a misspelt one is never passed over.
 */
export function environmentOverrides(environment: Readonly<Record<string, string | undefined>>): ConfigOverride[] {
  const overrides: ConfigOverride[] = [];
  const unknown: string[] = [];
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(PREFIX) || name === FILE_VARIABLE || value === undefined) continue;
    const setting = CONFIG_SETTINGS.find(({ variable }) => variable === name);
    if (setting === undefined) unknown.push(name);
    else overrides.push({ path: setting.path, value, source: name });
  }
  if (unknown.length === 0) return overrides;
  const sentence = `${unknown.join(', ')}: there is no such setting; an environment variable is ${PREFIX} and a key of the file, such as LACRE_SERVER_CA_SVID_TTL`;
  throw new LacreError('server.config.invalid', sentence, { faults: unknown.length });
}

/** Overrides from flags, by their names without dashes in front ("ca-svid-ttl"); those that are no setting are left to the caller. */
export function flagOverrides(flags: Readonly<Record<string, string | undefined>>): ConfigOverride[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    const setting = CONFIG_SETTINGS.find(({ flag }) => flag === `--${name}`);
    return setting === undefined || value === undefined ? [] : [{ path: setting.path, value, source: setting.flag }];
  });
}
