import type { AnyNode, BinaryExpression, CallExpression, Expression, LogicalExpression } from 'acorn';
import type { Change } from './mutant.ts';
import { regexChanges } from './regex-operator.ts';

/** Source between two offsets. */
type Cut = (node: { start: number; end: number }) => string;

const ARITHMETIC: Readonly<Record<string, string>> = {
  '+': '-',
  '-': '+',
  '*': '/',
  '/': '*',
  '%': '*',
  '&': '|',
  '|': '&',
  '^': '&',
  '<<': '>>',
  '>>': '<<',
  '>>>': '<<',
  '**': '*',
};
const BOUNDARY: Readonly<Record<string, string>> = { '<': '<=', '<=': '<', '>': '>=', '>=': '>' };
const TRUTH = new Set(['<', '<=', '>', '>=', '==', '===', '!=', '!==', 'in', 'instanceof']);
const ASSIGNMENT: Readonly<Record<string, string>> = {
  '+=': '-=',
  '-=': '+=',
  '*=': '/=',
  '|=': '&=',
  '&=': '|=',
  '^=': '&=',
  '<<=': '>>=',
  '>>=': '<<=',
  '??=': '=',
  '||=': '=',
  '&&=': '=',
};
/** Methods that are exchanged for another, or (empty) left out of their chain. */
const METHODS: ReadonlyMap<string, string> = new Map([
  ['every', 'some'],
  ['some', 'every'],
  ['startsWith', 'endsWith'],
  ['endsWith', 'startsWith'],
  ['min', 'max'],
  ['max', 'min'],
  ['filter', ''],
  ['slice', ''],
  ['subarray', ''],
  ['sort', ''],
  ['toSorted', ''],
  ['reverse', ''],
  ['trim', ''],
  ['toLowerCase', ''],
]);

/** The changes of one node alone; `parent` tells what would be the same change twice. */
export function changesOf(node: AnyNode, parent: AnyNode | undefined, cut: Cut): Change[] {
  const at = (operator: string, ...replacements: string[]): Change[] =>
    replacements.map((replacement) => ({
      start: node.start,
      end: node.end,
      operator,
      replacement,
      place: 'expression',
    }));
  switch (node.type) {
    case 'BinaryExpression':
      return binary(node, parent, cut, at);
    case 'LogicalExpression':
      return logical(node, parent, cut, at);
    case 'UnaryExpression':
      if (node.operator === '!')
        return isTest(node, parent) ? truth(node, parent, cut) : at('negation', cut(node.argument));
      if (node.operator === '-' || node.operator === '~') return at('sign', operand(node.argument, cut));
      return [];
    case 'UpdateExpression': {
      const operator = node.operator === '++' ? '--' : '++';
      return at('update', node.prefix ? operator + cut(node.argument) : cut(node.argument) + operator);
    }
    case 'AssignmentExpression': {
      const other = ASSIGNMENT[node.operator];
      return other === undefined ? [] : at('assignment', `${cut(node.left)} ${other} ${cut(node.right)}`);
    }
    case 'ArrayExpression':
      return node.elements.length === 0 ? [] : at('array', '[]');
    case 'ObjectExpression':
      return node.properties.length === 0 ? [] : at('object', '{}');
    case 'Literal':
      return literal(node, at);
    case 'TemplateLiteral':
      return node.quasis.some((part) => isProse(part.value.raw)) ? [] : at('string', "''");
    case 'CallExpression':
      return call(node, cut, at);
    case 'ChainExpression':
      return chain(node.expression, cut, at);
    default:
      return truth(node, parent, cut);
  }
}

type At = (operator: string, ...replacements: string[]) => Change[];

/** Comparisons: the bound moved by one, and both outcomes, unless an operand dropped around it says the same. */
function binary(node: BinaryExpression, parent: AnyNode | undefined, cut: Cut, at: At): Change[] {
  const [left, right] = [operand(node.left, cut), operand(node.right, cut)];
  const arithmetic = ARITHMETIC[node.operator];
  if (arithmetic !== undefined && [node.left, node.right].some(isText)) return [];
  if (arithmetic !== undefined) return at('arithmetic', `${left} ${arithmetic} ${right}`);
  const boundary = BOUNDARY[node.operator];
  const moved = boundary === undefined ? [] : at('boundary', `${left} ${boundary} ${right}`);
  if (!TRUTH.has(node.operator) || parent?.type === 'LogicalExpression') return moved;
  return [...moved, ...at('condition', 'true', 'false')];
}

/** Each operand alone; and the outcome that neither operand gives, once for a row of the same operator. */
function logical(node: LogicalExpression, parent: AnyNode | undefined, cut: Cut, at: At): Change[] {
  const operands = at('logical', operand(node.left, cut), operand(node.right, cut));
  if (node.operator === '??' || (parent?.type === 'LogicalExpression' && parent.operator === node.operator))
    return operands;
  return [...operands, ...at('condition', node.operator === '&&' ? 'false' : 'true')];
}

/** What an `if`, a loop or a choice asks, where it is no comparison: both outcomes. An arrow's value: none. */
function truth(node: AnyNode, parent: AnyNode | undefined, cut: Cut): Change[] {
  const expression = (target: Expression, operator: string, replacement: string): Change => ({
    start: target.start,
    end: target.end,
    operator,
    replacement,
    place: 'expression',
  });
  if (node.type === 'IfStatement' || node.type === 'ConditionalExpression') {
    if (['BinaryExpression', 'LogicalExpression'].includes(node.test.type)) return [];
    return ['true', 'false'].map((value) => expression(node.test, 'condition', value));
  }
  if (node.type === 'WhileStatement' && node.test.type !== 'BinaryExpression' && node.test.type !== 'LogicalExpression')
    return [expression(node.test, 'condition', 'false')];
  if (node.type === 'ExpressionStatement' && !cut(node).startsWith('super(')) {
    return [{ start: node.start, end: node.end, operator: 'statement', replacement: '', place: 'statement' }];
  }
  if (node.type === 'BlockStatement' && node.body.length > 0 && parent !== undefined && isFunction(parent)) {
    return [{ start: node.start, end: node.end, operator: 'body', replacement: '', place: 'body' }];
  }
  if (node.type === 'ArrowFunctionExpression' && node.body.type !== 'BlockStatement')
    return [expression(node.body, 'body', 'undefined')];
  return [];
}

/** The test of a choice gets both outcomes: its negation says no more. */
function isTest(node: AnyNode, parent: AnyNode | undefined): boolean {
  return parent !== undefined && 'test' in parent && parent.test === node;
}

function isText(node: AnyNode): boolean {
  return node.type === 'TemplateLiteral' || (node.type === 'Literal' && typeof node.value === 'string');
}

function isFunction(node: AnyNode): boolean {
  return ['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'].includes(node.type);
}

/** An operand's own text, in the brackets that the syntax tree leaves out. */
function operand(node: AnyNode, cut: Cut): string {
  return /^(Identifier|Literal|MemberExpression|CallExpression|ThisExpression|TemplateLiteral)$/.test(node.type)
    ? cut(node)
    : `(${cut(node)})`;
}

/** A text with blanks is for people: no decision reads it, and tests hold codes, not sentences. */
export function isProse(text: string): boolean {
  return /\S \S|^ \S|\S $/.test(text);
}

function literal(node: Extract<AnyNode, { type: 'Literal' }>, at: At): Change[] {
  if (node.regex) {
    const { pattern, flags } = node.regex;
    return at('regex', ...regexChanges(pattern, flags).map((changed) => `/${changed}/${flags}`));
  }
  if (typeof node.value === 'boolean') return at('boolean', String(!node.value));
  if (typeof node.value === 'number') return at('number', String(node.value + 1));
  if (typeof node.value === 'bigint') return at('number', `${node.value + 1n}n`);
  if (typeof node.value !== 'string' || isProse(node.value)) return [];
  return at('string', node.value === '' ? "'mutant'" : "''");
}

function call(node: CallExpression, cut: Cut, at: At): Change[] {
  const { callee } = node;
  if (callee.type !== 'MemberExpression' || callee.computed || callee.property.type !== 'Identifier') return [];
  const other = METHODS.get(callee.property.name);
  if (other === undefined || callee.optional) return [];
  const object = operand(callee.object, cut);
  const rest = `.${other}${cut({ start: callee.property.end, end: node.end })}`;
  return at('method', other === '' ? object : object + rest);
}

/** `a?.b` as `a.b`: the outermost question mark of the chain. */
function chain(node: Expression, cut: Cut, at: At): Change[] {
  const text = cut(node);
  const mark = text.indexOf('?.');
  const rest = text.slice(mark + 2);
  return at('optional', text.slice(0, mark) + (/^[[(]/.test(rest) ? '' : '.') + rest);
}
