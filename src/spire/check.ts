import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { LacreError } from '../lacre-error.ts';
import { type HclObject, type HclValue, parseHcl } from './hcl-parser.ts';
import { AgentHalfConfigSchema } from './node-attestor-agent.ts';
import { ServerHalfConfigSchema } from './node-attestor-server.ts';
import { checkTree } from './plugin-config.ts';
import { WorkloadConfigSchema } from './workload-config.ts';

/** One thing about a SPIRE that Lacre is added to. */
export interface CheckNote {
  /** False: worth knowing; nothing fails by it. */
  readonly missing: boolean;
  readonly sentence: string;
}

const MAX_BYTES = 64 * 1024 * 1024;
const RECOMMENDED_SECONDS = { default_x509_svid_ttl: 300, default_jwt_svid_ttl: 300, agent_ttl: 3600 } as const;
const UNITS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };

const EntriesSchema = z.object({
  entries: z.array(
    z.object({
      id: z.string().default(''),
      spiffe_id: z.object({ trust_domain: z.string(), path: z.string() }),
      selectors: z.array(z.object({ type: z.string(), value: z.string() })).default([]),
    }),
  ),
});

/** Reads the files and says what is missing, entries without a lacre selector first. Codes: spire.config.invalid. */
export async function checkSpireFiles(configs: readonly string[], entries: string | undefined): Promise<CheckNote[]> {
  const notes = entries === undefined ? [] : checkEntries(entries, await textOf(entries));
  for (const path of configs) notes.push(...checkConfig(path, await textOf(path)));
  return notes;
}

/** @param text what `spire-server entry show -output json` prints. Codes: spire.config.invalid. */
export function checkEntries(name: string, text: string): CheckNote[] {
  let parsed: z.output<typeof EntriesSchema>;
  try {
    parsed = EntriesSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new LacreError(
      'spire.config.invalid',
      `${name} is not what "spire-server entry show -output json" prints`,
      {},
      { cause },
    );
  }
  return parsed.entries
    .filter(
      ({ selectors }) =>
        selectors.length > 0 && !selectors.some(({ type }) => type === 'lacre' || type === 'lacre_tpm'),
    )
    .map(({ id, spiffe_id: { trust_domain, path } }) => ({
      missing: true,
      sentence: `entry ${id} of spiffe://${trust_domain}${path} has no selector of Lacre: who fulfils it gets the identity unproven`,
    }));
}

/** @param text of a configuration of spire-server or spire-agent. Codes: spire.config.invalid. */
export function checkConfig(name: string, text: string): CheckNote[] {
  const tree = parseHcl(name, text);
  const server = objectAt(tree, 'server');
  const agent = objectAt(tree, 'agent');
  if (server === undefined && agent === undefined) {
    throw new LacreError(
      'spire.config.invalid',
      `${name} has neither a block "server" nor "agent": it is no configuration of SPIRE`,
    );
  }
  const notes: CheckNote[] = [];
  if (server !== undefined) {
    notes.push(...ttlNotes(name, server));
    notes.push(...pluginNotes(name, tree, 'NodeAttestor', 'lacre_tpm', ServerHalfConfigSchema, false));
  }
  if (agent !== undefined) {
    notes.push(...pluginNotes(name, tree, 'WorkloadAttestor', 'lacre', WorkloadConfigSchema, true));
    notes.push(...pluginNotes(name, tree, 'NodeAttestor', 'lacre_tpm', AgentHalfConfigSchema, false));
  }
  return notes;
}

function ttlNotes(name: string, server: HclObject): CheckNote[] {
  return Object.entries(RECOMMENDED_SECONDS).flatMap(([key, most]) => {
    const value = valueAt(server, key);
    const seconds = value?.kind === 'scalar' ? secondsOf(String(value.value)) : 3600;
    if (seconds <= most) return [];
    return [
      {
        missing: false,
        sentence: `${name}: ${key} is over ${most} s: so long is an SVID good whatever happened to its workload or node`,
      },
    ];
  });
}

function pluginNotes(
  name: string,
  tree: HclObject,
  type: string,
  plugin: string,
  schema: z.ZodType,
  needed: boolean,
): CheckNote[] {
  const plugins = tree.entries.filter(({ key }) => key === 'plugins').map(({ value }) => value);
  const found = plugins.flatMap((block) => blocksOf(block, type)).flatMap((block) => blocksOf(block, plugin));
  const what = `${type} "${plugin}"`;
  const [block] = found;
  if (block === undefined) return [{ missing: needed, sentence: `${name}: there is no ${what} among the plugins` }];
  const notes: CheckNote[] = [];
  const missing = (sentence: string) =>
    notes.push({ missing: true, sentence: `${name}:${block.place.line}: ${what} ${sentence}` });
  if (found.length > 1) missing('stands twice');
  if (valueAt(block, 'plugin_cmd') === undefined) missing('has no plugin_cmd');
  if (valueAt(block, 'plugin_checksum') === undefined)
    missing('has no plugin_checksum: whatever lies at plugin_cmd is run');
  const data = objectAt(block, 'plugin_data') ?? { kind: 'object', entries: [], place: block.place };
  if (valueAt(block, 'plugin_data_file') === undefined) {
    for (const fault of checkTree(data, schema, name).faults) notes.push({ missing: true, sentence: fault });
  }
  return notes;
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

function objectAt(tree: HclObject, key: string): HclObject | undefined {
  return blocksOf(tree, key)[0];
}

function valueAt(tree: HclObject, key: string): HclValue | undefined {
  return tree.entries.findLast((entry) => entry.key === key)?.value;
}

/** Go's durations: "1h30m". What is none is for SPIRE to refuse, and counts as too long here. */
function secondsOf(text: string): number {
  if (!/^(\d{1,9}(\.\d{1,9})?(ms|s|m|h))+$/.test(text)) return Number.POSITIVE_INFINITY;
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g);
  return [...parts].reduce((sum, [, count, unit = '']) => sum + Number(count) * (UNITS[unit] ?? 0), 0);
}

async function textOf(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length <= MAX_BYTES) return bytes.toString('utf8');
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw new LacreError('spire.config.invalid', `${path} can't be read: ${reason}`, { path }, { cause });
  }
  throw new LacreError('spire.config.invalid', `${path} is longer than 64 MiB`, { path });
}
