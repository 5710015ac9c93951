import { isMap, isScalar, LineCounter, type Node, type ParsedNode, parseDocument } from 'yaml';
import * as z from 'zod';
import type { ErrorCode } from './error-code.ts';
import { LacreError } from './lacre-error.ts';

/** One thing that is wrong with a configuration, and where. */
export interface ConfigFault {
  /** As "ca.svid_ttl"; empty: the file as a whole. */
  readonly key: string;
  /** Line and column from 1; undefined where a variable or a flag is at fault. */
  readonly place: { readonly line: number; readonly column: number } | undefined;
  /** Name of the variable or flag at fault. */
  readonly source: string | undefined;
  readonly message: string;
}

/** What a program's configuration file looks like, and what lies over it. */
export interface ConfigSource<Schema extends z.ZodType> {
  readonly schema: Schema;
  /** Name of the file, for messages. */
  readonly name: string;
  readonly text: string;
  /** As "LACRE_AGENT_": a variable of this prefix sets one scalar key, and one that names no key is a fault. */
  readonly prefix: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** By name without dashes in front ("data-dir"); they win over variables. */
  readonly flags?: Readonly<Record<string, string | undefined>>;
  /** The code that faults are thrown with. */
  readonly code: ErrorCode;
}

interface Override {
  readonly path: readonly string[];
  readonly value: string;
  readonly source: string;
  readonly integer: boolean;
}

interface Setting {
  readonly path: readonly string[];
  readonly integer: boolean;
}

interface SchemaNode {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
}

const MAX_BYTES = 1024 * 1024;

/**
 * Reads a YAML configuration against its schema, variables and flags over it. Every fault is reported at once, each
 * with its line and column: unknown keys, duplicate keys and misspelt variables are faults.
 * Codes: `source.code`.
 */
export function readConfigFile<Schema extends z.ZodType>(source: ConfigSource<Schema>): z.output<Schema> {
  const { faults, value } = checkConfigFile(source);
  if (faults.length === 0) return value as z.output<Schema>;
  const lines = faults.map((fault) => `  ${faultText(source.name, fault)}`);
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`;
  throw new LacreError(source.code, `the configuration has ${count}:\n${lines.join('\n')}`, {
    file: source.name,
    faults: faults.length,
  });
}

function faultText(name: string, fault: ConfigFault): string {
  const at = fault.place === undefined ? '' : `:${fault.place.line}:${fault.place.column}`;
  return `${fault.source ?? name + at}: ${fault.key === '' ? '' : `${fault.key}: `}${fault.message}`;
}

/** As readConfigFile, with the faults as a value; without any, `value` is what the schema made. */
export function checkConfigFile(source: ConfigSource<z.ZodType>): { faults: ConfigFault[]; value?: unknown } {
  if (source.text.length > MAX_BYTES) return { faults: [fileFault('the file is longer than 1 MiB')] };
  const lines = new LineCounter();
  const document = parseDocument(source.text, {
    lineCounter: lines,
    prettyErrors: false,
    strict: true,
    uniqueKeys: true,
  });
  const place = (offset: number) => ({ line: lines.linePos(offset).line, column: lines.linePos(offset).col });
  if (document.errors.length > 0) {
    const faults = document.errors.map(({ message, pos }) => ({
      key: '',
      source: undefined,
      message,
      place: place(pos[0]),
    }));
    return { faults };
  }
  if (document.contents !== null && !isMap(document.contents)) {
    return { faults: [fileFault('the file must hold keys and values')] };
  }
  const { overrides, unknown } = overridesOf(source);
  const plain = plainOf(document);
  if (plain === undefined) return { faults: [fileFault('the file has too many aliases')] };
  for (const override of overrides) setAt(plain, override);
  const parsed = source.schema.safeParse(plain);
  if (parsed.success) return { faults: unknown, value: parsed.data };
  const faults = parsed.error.issues.flatMap(plainIssues).map(({ path, message, ofKey }): ConfigFault => {
    const key = keyText(path);
    const override = overrides.findLast((candidate) => candidate.path.join('.') === path.join('.'));
    if (override !== undefined) return { key, place: undefined, source: override.source, message };
    return { key, source: undefined, message, place: place(offsetOf(document.contents, path, ofKey ?? false)) };
  });
  faults.sort((a, b) => (a.place?.line ?? 0) - (b.place?.line ?? 0) || (a.place?.column ?? 0) - (b.place?.column ?? 0));
  return { faults: [...faults, ...unknown] };
}

function plainIssues(issue: z.core.$ZodIssue): { path: PropertyKey[]; message: string; ofKey?: true }[] {
  if (issue.code !== 'unrecognized_keys') return [{ path: issue.path, message: issue.message }];
  return issue.keys.map((key) => ({
    path: [...issue.path, key],
    message: 'there is no such key',
    ofKey: true,
  }));
}

function overridesOf(source: ConfigSource<z.ZodType>): { overrides: Override[]; unknown: ConfigFault[] } {
  const settings = settingsOf(z.toJSONSchema(source.schema, { io: 'input' }) as SchemaNode, []);
  const overrides: Override[] = [];
  const unknown: ConfigFault[] = [];
  const add = (name: string, value: string | undefined, fits: (joined: string) => boolean) => {
    if (value === undefined) return;
    const setting = settings.find(({ path }) => fits(path.join('_')));
    if (setting !== undefined) overrides.push({ ...setting, value, source: name });
    else unknown.push({ key: '', place: undefined, source: name, message: 'there is no such setting' });
  };
  for (const [name, value] of Object.entries(source.environment ?? {})) {
    if (!name.startsWith(source.prefix) || name === `${source.prefix}CONFIG`) continue;
    add(name, value, (joined) => name === source.prefix + joined.toUpperCase());
  }
  for (const [name, value] of Object.entries(source.flags ?? {})) {
    add(`--${name}`, value, (joined) => name === joined.replaceAll('_', '-'));
  }
  return { overrides, unknown };
}

/** Every scalar key of a schema; lists are set in the file only. */
function settingsOf(node: SchemaNode, path: readonly string[]): Setting[] {
  if (node.properties !== undefined) {
    return Object.entries(node.properties).flatMap(([name, child]) => settingsOf(child, [...path, name]));
  }
  return node.type === 'string' || node.type === 'integer' ? [{ path, integer: node.type === 'integer' }] : [];
}

/**
 * "--name value" and "--name=value" as a map; which names there are is for the configuration to say.
 * Codes: `code`, for what is no flag or lacks its value.
 */
export function flagValues(flags: readonly string[], code: ErrorCode): Record<string, string> {
  const values: Record<string, string> = {};
  for (let at = 0; at < flags.length; at += 1) {
    const [name = '', inline] = (flags[at] ?? '').split(/=(.*)/s, 2);
    const value = inline ?? flags[++at];
    if (!name.startsWith('--') || value === undefined) {
      throw new LacreError(code, `${name} is no setting, or lacks its value`);
    }
    values[name.slice(2)] = value;
  }
  return values;
}

function setAt(target: Record<string, unknown>, { path, value, integer }: Override): void {
  let at = target;
  for (const name of path.slice(0, -1)) {
    const next = at[name];
    const child = typeof next === 'object' && next !== null ? (next as Record<string, unknown>) : {};
    at[name] = child;
    at = child;
  }
  at[path.at(-1) ?? ''] = integer && /^\d{1,15}$/.test(value) ? Number(value) : value;
}

function plainOf(document: ReturnType<typeof parseDocument>): Record<string, unknown> | undefined {
  try {
    return (document.toJS({ maxAliasCount: 100 }) as Record<string, unknown> | null) ?? {};
  } catch {
    return undefined;
  }
}

/** Where a value stands (or its key, where the key is the fault): its own place, or that of the nearest thing above it which the file has. */
function offsetOf(contents: ParsedNode | null, path: readonly PropertyKey[], ofKey: boolean): number {
  let node: Node | null = contents;
  let offset = contents?.range[0] ?? 0;
  for (const [depth, part] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === part);
      if (pair === undefined) return offset;
      const at = !ofKey && depth === path.length - 1 && isScalar(pair.value) ? pair.value : pair.key;
      offset = (at as Node | null)?.range?.[0] ?? offset;
      node = pair.value as Node | null;
    } else {
      const item: unknown = node !== null && 'items' in node ? (node.items as unknown[])[Number(part)] : undefined;
      if (item === undefined) return offset;
      node = item as Node;
      offset = node.range?.[0] ?? offset;
    }
  }
  return offset;
}

function keyText(path: readonly PropertyKey[]): string {
  const parts = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`));
  return parts.join('').replace(/^\./, '');
}

function fileFault(message: string): ConfigFault {
  return { key: '', place: { line: 1, column: 1 }, source: undefined, message };
}
