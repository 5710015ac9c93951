import type * as z from 'zod';
import { LacreError } from '../lacre-error.ts';
import { type HclEntry, type HclObject, type HclValue, parseHcl } from './hcl-parser.ts';
import type { Place } from './hcl-token.ts';

/** Plain values of a configuration, or the keys that stand twice in it. */
interface Plain {
  readonly value: unknown;
  readonly twice: readonly { readonly path: readonly PropertyKey[]; readonly place: Place }[];
}

/** What is to be read, and how it is called in messages. */
export interface PluginConfigSource<Schema extends z.ZodType> {
  readonly schema: Schema;
  /** plugin_data as SPIRE prints it, or the bytes of plugin_data_file: HCL or JSON. */
  readonly text: string;
}

/** What was found in a configuration. */
export interface CheckedConfig {
  /** Sentences, each with its place: the first of them, and how many more there are. */
  readonly faults: readonly string[];
  /** Of all faults. */
  readonly count: number;
  /** What the schema made, where it found no fault. */
  readonly value?: unknown;
}

/** Its place is looked for where it has none yet. */
interface Fault {
  readonly path: readonly PropertyKey[];
  readonly place?: Place;
  readonly message: string;
}

const NAME = 'plugin_data';
/** All are sent in one status of gRPC, which has room for some kilobytes. */
const MAX_FAULTS = 32;
/** Characters of a key in a sentence, and of what is said of it. */
const MAX_KEY = 64;
const MAX_MESSAGE = 256;

/**
 * Reads the configuration of a plugin against its schema. All faults are reported at once, each with line and column (the
 * first 32 of very many); unknown and repeated keys are faults. Codes: spire.config.invalid.
 */
export function readPluginConfig<Schema extends z.ZodType>(source: PluginConfigSource<Schema>): z.output<Schema> {
  const { faults, count, value } = checkPluginConfig(source);
  if (count === 0) return value as z.output<Schema>;
  const many = count === 1 ? '1 fault' : `${count} faults`;
  throw new LacreError('spire.config.invalid', `${NAME} has ${many}: ${faults.join('; ')}`, { faults: count });
}

/** As readPluginConfig, with the faults as sentences; without any, `value` is what the schema made. */
export function checkPluginConfig(source: PluginConfigSource<z.ZodType>): CheckedConfig {
  let tree: HclObject;
  try {
    tree = parseHcl(NAME, source.text);
  } catch (error) {
    if (error instanceof LacreError) return { faults: [error.message], count: 1 };
    throw error;
  }
  return checkTree(tree, source.schema);
}

/**
 * As checkPluginConfig, of a text that is parsed already.
 * @param name of the text, for messages
 */
export function checkTree(tree: HclObject, schema: z.ZodType, name = NAME): CheckedConfig {
  const { value, twice } = plainOf(tree, []);
  const parsed = schema.safeParse(value);
  const faults: Fault[] = twice.map((one) => ({ ...one, message: 'stands twice' }));
  for (const issue of parsed.error?.issues ?? []) {
    if (issue.code !== 'unrecognized_keys') faults.push(issue);
    else for (const key of issue.keys) faults.push({ path: [...issue.path, key], message: 'there is no such key' });
  }
  const told = faults.slice(0, MAX_FAULTS).map(({ path, message, place = placeOf(tree, path) }) => {
    return `${name}:${place.line}:${place.column}: ${keyText(path)}${cut(message, MAX_MESSAGE)}`;
  });
  const count = faults.length;
  if (count > told.length) told.push(`and ${count - told.length} more`);
  return parsed.success ? { faults: told, count, value: parsed.data } : { faults: told, count };
}

function keyText(path: readonly PropertyKey[]): string {
  const key = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${cut(String(part), MAX_KEY)}`)).join('');
  return key === '' ? '' : `${key.replace(/^\./, '')}: `;
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length)}…`;
}

function plainOf(value: HclValue, path: readonly PropertyKey[]): Plain {
  if (value.kind === 'scalar') return { value: value.value, twice: [] };
  if (value.kind === 'list') {
    const items = value.items.map((item, index) => plainOf(item, [...path, index]));
    return { value: items.map((item) => item.value), twice: items.flatMap(({ twice }) => twice) };
  }
  const plain = new Map<string, unknown>();
  const twice: { path: readonly PropertyKey[]; place: Place }[] = [];
  for (const { key, place, value: child } of value.entries) {
    const at = [...path, key];
    if (plain.has(key)) twice.push({ path: at, place });
    const inner = plainOf(child, at);
    plain.set(key, inner.value);
    twice.push(...inner.twice);
  }
  // A key named __proto__ is a key like any other.
  return { value: Object.fromEntries(plain), twice };
}

/** Where a value stands, or the nearest thing above it that the text has. */
function placeOf(tree: HclObject, path: readonly PropertyKey[]): Place {
  let at: HclValue | undefined = tree;
  let { place } = tree;
  for (const part of path) {
    if (at?.kind === 'list') at = at.items[Number(part)];
    else if (at?.kind === 'object') {
      const entry: HclEntry | undefined = at.entries.findLast(({ key }) => key === part);
      place = entry?.place ?? place;
      at = entry?.value;
      continue;
    }
    if (at === undefined) return place;
    place = at.place;
  }
  return place;
}
