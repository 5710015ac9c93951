import type * as z from 'zod';
import { isLacreError, LacreError } from '../lacre-error.ts';
import { type HclObject, type HclValue, parseHcl } from './hcl-parser.ts';
import { AgentHalfConfigSchema, ServerHalfConfigSchema } from './node-config.ts';
import { checkTree } from './plugin-config.ts';
import { ttlNotes } from './ttl-check.ts';
import { WorkloadConfigSchema } from './workload-config.ts';

/** One thing about a SPIRE that Lacre is added to. */
export interface CheckNote {
  /** False: worth knowing; nothing fails by it. */
  readonly missing: boolean;
  readonly sentence: string;
}

/** A plugin that is looked for. */
interface Wanted<Schema extends z.ZodType> {
  readonly type: string;
  readonly plugin: string;
  readonly schema: Schema;
  readonly needed: boolean;
}

interface Found<Schema extends z.ZodType> {
  readonly notes: readonly CheckNote[];
  /** Undefined: there is no such plugin, or its configuration has faults. */
  readonly config: z.output<Schema> | undefined;
}

type ReadText = (path: string) => string;

/** spire-server's own, where its file names none. */
const API_SOCKET = '/tmp/spire-server/private/api.sock';

/**
 * What a configuration lacks. Codes: spire.config.invalid.
 * @param text of a configuration of spire-server or spire-agent
 * @param read what `plugin_data_file` names
 */
export function checkConfig(name: string, text: string, read: ReadText): CheckNote[] {
  const tree = parseHcl(name, text);
  const [server] = blocksOf(tree, 'server');
  const [agent] = blocksOf(tree, 'agent');
  if (server === undefined && agent === undefined) {
    throw new LacreError(
      'spire.config.invalid',
      `${name} has neither a block "server" nor "agent": it is no configuration of SPIRE`,
    );
  }
  const check = <Schema extends z.ZodType>(type: string, plugin: string, schema: Schema, needed: boolean) =>
    checkPlugin(name, tree, { type, plugin, schema, needed }, read);
  const notes: CheckNote[] = [];
  if (server !== undefined) {
    const { notes: faults, config } = check('NodeAttestor', 'lacre_tpm', ServerHalfConfigSchema, false);
    notes.push(...ttlNotes(name, (key) => textAt(server, key)), ...faults);
    if (config !== undefined) notes.push(...socketNotes(name, textAt(server, 'socket_path') ?? API_SOCKET, config));
  }
  if (agent !== undefined) {
    notes.push(...check('WorkloadAttestor', 'lacre', WorkloadConfigSchema, true).notes);
    notes.push(...check('NodeAttestor', 'lacre_tpm', AgentHalfConfigSchema, false).notes);
  }
  return notes;
}

/** Every file that a plugin's configuration is in. Codes: spire.config.invalid. */
export function dataFilesOf(name: string, text: string): string[] {
  const types = blocksOf(parseHcl(name, text), 'plugins').flatMap(({ entries }) => entries);
  const plugins = types.flatMap(({ value }) => objectsIn(value)).flatMap(({ entries }) => entries);
  const blocks = plugins.flatMap(({ value }) => objectsIn(value));
  return blocks.flatMap((block) => textAt(block, 'plugin_data_file') ?? []);
}

function socketNotes(
  name: string,
  socketPath: string,
  { spire_socket: spire, on_host_failure: action }: z.output<typeof ServerHalfConfigSchema>,
): CheckNote[] {
  if (action === 'none' || spire === socketPath) return [];
  const sentence = `${name}: spire_socket is ${spire}, and spire-server's socket_path ${socketPath}: no agent would be acted on (${action})`;
  return [{ missing: true, sentence }];
}

function checkPlugin<Schema extends z.ZodType>(
  name: string,
  tree: HclObject,
  { type, plugin, schema, needed }: Wanted<Schema>,
  read: ReadText,
): Found<Schema> {
  const found = blocksOf(tree, 'plugins')
    .flatMap((block) => blocksOf(block, type))
    .flatMap((block) => blocksOf(block, plugin));
  const what = `${type} "${plugin}"`;
  const [block] = found;
  if (block === undefined) {
    return {
      notes: [{ missing: needed, sentence: `${name}: there is no ${what} among the plugins` }],
      config: undefined,
    };
  }
  const { faults, value } = checkData(name, block, schema, read);
  const sentences = [
    ...blockFaults(block, found.length).map((fault) => `${name}:${block.place.line}: ${what} ${fault}`),
    ...faults,
  ];
  const config = value as z.output<Schema> | undefined;
  return { notes: sentences.map((sentence) => ({ missing: true, sentence })), config };
}

function blockFaults(block: HclObject, count: number): string[] {
  const has = (key: string) => valueAt(block, key) !== undefined;
  const faults: [boolean, string][] = [
    [count > 1, 'stands twice'],
    [!has('plugin_cmd'), 'has no plugin_cmd'],
    [!has('plugin_checksum'), 'has no plugin_checksum: whatever lies at plugin_cmd is run'],
    [textAt(block, 'enabled') === 'false', 'is not enabled'],
    [has('plugin_data') && has('plugin_data_file'), 'has both plugin_data and plugin_data_file: SPIRE takes one'],
  ];
  return faults.filter(([holds]) => holds).map(([, fault]) => fault);
}

/** The plugin's own configuration, wherever it stands. */
function checkData(
  name: string,
  block: HclObject,
  schema: z.ZodType,
  read: ReadText,
): { readonly faults: readonly string[]; readonly value?: unknown } {
  const file = textAt(block, 'plugin_data_file');
  if (file === undefined) {
    const data = blocksOf(block, 'plugin_data')[0] ?? { kind: 'object', entries: [], place: block.place };
    return checkTree(data, schema, name);
  }
  try {
    return checkTree(parseHcl(file, read(file)), schema, file);
  } catch (error) {
    if (isLacreError(error)) return { faults: [error.message] };
    throw error;
  }
}

/** JSON has blocks of one name as a list of objects. */
function blocksOf(value: HclValue, key: string): HclObject[] {
  if (value.kind === 'list') return value.items.flatMap((item) => blocksOf(item, key));
  if (value.kind !== 'object') return [];
  return value.entries.flatMap((entry) => (entry.key === key ? objectsIn(entry.value) : []));
}

function objectsIn(value: HclValue): HclObject[] {
  if (value.kind === 'list') return value.items.flatMap(objectsIn);
  return value.kind === 'object' ? [value] : [];
}

function textAt(tree: HclObject, key: string): string | undefined {
  const value = valueAt(tree, key);
  return value?.kind === 'scalar' ? String(value.value) : undefined;
}

function valueAt(tree: HclObject, key: string): HclValue | undefined {
  return tree.entries.findLast((entry) => entry.key === key)?.value;
}
