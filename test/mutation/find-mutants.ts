import { stripTypeScriptTypes } from 'node:module';
import { type AnyNode, parse } from 'acorn';
import { type Change, fold, type Mutant } from './mutant.ts';
import { changesOf, isProse } from './operators.ts';

/** A source file with all its mutants. */
export interface MutatedFile {
  /** Types blanked: every offset is that of the TypeScript source. */
  readonly javascript: string;
  readonly mutants: readonly Mutant[];
}

/** All mutants of a TypeScript source. @param firstId the id of its first one. */
export function findMutants(file: string, source: string, firstId: number): MutatedFile {
  const javascript = stripTypeScriptTypes(source);
  if (javascript.length !== source.length) throw new Error(`${file}: offsets moved when its types were blanked`);
  const changes: Change[] = [];
  const cut = (node: { start: number; end: number }): string => javascript.slice(node.start, node.end);
  visit(parse(javascript, { ecmaVersion: 'latest', sourceType: 'module' }), undefined, (node, parent) => {
    changes.push(...changesOf(node, parent, cut));
  });
  const seen = new Map<string, number>();
  const unique = new Map(changes.map((change) => [`${change.start}-${change.end}-${change.replacement}`, change]));
  const mutants = [...unique.values()]
    .filter((change) => fold(cut(change)) !== change.replacement)
    .toSorted((a, b) => a.start - b.start || b.end - a.end)
    .map((change, index): Mutant => {
      const original = change.place === 'expression' ? fold(cut(change)) : fold(cut(change)).slice(0, 60);
      const replacement = fold(change.replacement);
      const name = `${file} | ${lineText(source, change.start)} | ${change.operator}: ${original} → ${replacement}`;
      const times = (seen.get(name) ?? 0) + 1;
      seen.set(name, times);
      const key = times === 1 ? name : `${name} #${times}`;
      const line = source.slice(0, change.start).split('\n').length;
      return { ...change, id: firstId + index, file, line, original, key };
    });
  return { javascript, mutants };
}

function lineText(source: string, offset: number): string {
  const from = source.lastIndexOf('\n', offset - 1) + 1;
  const to = source.indexOf('\n', offset);
  return fold(source.slice(from, to === -1 ? source.length : to));
}

/** Positions that hold no value: names, keys, what an assignment writes to. Their computed parts are values again. */
const NO_VALUE: Readonly<Record<string, readonly string[]>> = {
  ImportDeclaration: ['source', 'specifiers', 'attributes'],
  ExportNamedDeclaration: ['source', 'specifiers'],
  Property: ['key'],
  PropertyDefinition: ['key'],
  MethodDefinition: ['key'],
  MemberExpression: ['property'],
};

/** @param chained whether the node lies between a `?.` and the end of its chain, where nothing can be put in brackets. */
function visit(
  node: AnyNode,
  parent: AnyNode | undefined,
  onNode: (node: AnyNode, parent: AnyNode | undefined) => void,
  chained = false,
): void {
  if (isForPeople(node, parent)) return;
  if (!chained) onNode(node, parent);
  for (const [name, value] of Object.entries(node)) {
    const computed = 'computed' in node && node.computed;
    if (NO_VALUE[node.type]?.includes(name) && !computed) continue;
    if (name === 'quasis' || name === 'quasi') continue;
    const goesOn = name === 'expression' ? node.type === 'ChainExpression' : isSpine(name) && chained;
    for (const child of Array.isArray(value) ? value : [value]) {
      if (typeof child?.type === 'string') visit(child, node, onNode, goesOn);
    }
  }
}

/** What only shows in a message or in a debugger: a sentence, an error's details, the name of a symbol, a brand's value. */
function isForPeople(node: AnyNode, parent: AnyNode | undefined): boolean {
  if (node.type === 'TemplateLiteral') return node.quasis.some((part) => isProse(part.value.raw));
  if (parent?.type === 'PropertyDefinition')
    return parent.key.type === 'PrivateIdentifier' && parent.key.name === 'brand';
  if (parent?.type !== 'NewExpression' && parent?.type !== 'CallExpression') return false;
  const name = parent.callee.type === 'Identifier' ? parent.callee.name : '';
  return (name === 'LacreError' && node.type === 'ObjectExpression') || (name === 'Symbol' && node.type === 'Literal');
}

function isSpine(name: string): boolean {
  return name === 'object' || name === 'callee';
}
