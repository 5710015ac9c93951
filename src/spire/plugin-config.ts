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

const NAME = 'plugin_data';

/**
 * Reads the configuration of a plugin against its schema. All faults are reported at once, each with line and column;
 * unknown and repeated keys are faults. Codes: spire.config.invalid.
 */
export function readPluginConfig<Schema extends z.ZodType>(source: PluginConfigSource<Schema>): z.output<Schema> {
  const { faults, value } = checkPluginConfig(source);
  if (faults.length === 0) return value as z.output<Schema>;
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`;
  throw new LacreError('spire.config.invalid', `${NAME} has ${count}: ${faults.join('; ')}`, { faults: faults.length });
}

/** As readPluginConfig, with the faults as sentences; without any, `value` is what the schema made. */
export function checkPluginConfig(source: PluginConfigSource<z.ZodType>): { faults: string[]; value?: unknown } {
  let tree: HclObject;
  try {
    tree = parseHcl(NAME, source.text);
  } catch (error) {
    if (error instanceof LacreError) return { faults: [error.message] };
    throw error;
  }
  return checkTree(tree, source.schema);
}

/**
 * As checkPluginConfig, of a text that is parsed already.
 * @param name of the text, for messages
 */
export function checkTree(
  tree: HclObject,
  schema: z.ZodType,
  name = NAME,
): { readonly faults: string[]; readonly value?: unknown } {
  const faultText = (path: readonly PropertyKey[], place: Place, message: string) =>
    `${name}:${place.line}:${place.column}: ${keyText(path)}${message}`;
  const { value, twice } = plainOf(tree, []);
  const repeated = twice.map(({ path, place }) => faultText(path, place, 'stands twice'));
  const parsed = schema.safeParse(value);
  if (parsed.success) return { faults: repeated, value: parsed.data };
  const faults = parsed.error.issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') return [faultText(issue.path, placeOf(tree, issue.path), issue.message)];
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return faultText(path, placeOf(tree, path), 'there is no such key');
    });
  });
  return { faults: [...repeated, ...faults] };
}

function keyText(path: readonly PropertyKey[]): string {
  const key = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
  return key === '' ? '' : `${key.replace(/^\./, '')}: `;
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
