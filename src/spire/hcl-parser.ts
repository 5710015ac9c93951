import { numberOf } from './hcl-text.ts';
import { type Place, syntaxFault, type Token, Tokens } from './hcl-token.ts';

/** A value of a configuration, with its place. */
export type HclValue =
  | { readonly kind: 'scalar'; readonly value: string | number | boolean; readonly place: Place }
  | { readonly kind: 'list'; readonly items: readonly HclValue[]; readonly place: Place }
  | HclObject;

export interface HclObject {
  readonly kind: 'object';
  /** In their order; a key may stand several times, as blocks do. */
  readonly entries: readonly HclEntry[];
  readonly place: Place;
}

export interface HclEntry {
  readonly key: string;
  readonly place: Place;
  readonly value: HclValue;
}

const MAX_CHARACTERS = 1024 * 1024;
const MAX_DEPTH = 32;
const MAX_VALUES = 20_000;

/**
 * Parses HCL 1 as SPIRE has it: keys with values, blocks with labels, lists, comments, here-documents. A block's labels
 * become keys: `plugin "x" {}` is `plugin { x {} }`. A text that is one object in braces, JSON among them, is that object.
 * Codes: spire.config.invalid, with line and column.
 * @param name of the text, for messages
 */
export function parseHcl(name: string, text: string): HclObject {
  if (text.length > MAX_CHARACTERS) throw syntaxFault(name, { line: 1, column: 1 }, 'the text is longer than 1 MiB');
  return new Parser(name, text).file();
}

class Parser {
  readonly #name: string;
  readonly #tokens: Tokens;
  #token: Token;
  #values = 0;

  constructor(name: string, text: string) {
    this.#name = name;
    this.#tokens = new Tokens(name, text);
    this.#token = this.#tokens.next();
  }

  file(): HclObject {
    const { place } = this.#token;
    const whole = this.#isMark('{');
    const object = whole ? this.#object(0) : this.#entries('end', 0, place);
    if (this.#token.kind !== 'end') throw this.#unexpected('the end of the text');
    return object;
  }

  #object(depth: number): HclObject {
    const { place } = this.#token;
    this.#step();
    const object = this.#entries('}', depth + 1, place);
    this.#step();
    return object;
  }

  #entries(end: '}' | 'end', depth: number, place: Place): HclObject {
    const entries: HclEntry[] = [];
    while (!(end === 'end' ? this.#token.kind === 'end' : this.#isMark('}'))) {
      entries.push(this.#entry(depth));
      if (this.#isMark(',')) this.#step();
    }
    return { kind: 'object', entries, place };
  }

  #entry(depth: number): HclEntry {
    const { text: key, place, kind } = this.#token;
    if (kind !== 'name' && kind !== 'string') throw this.#unexpected('a key');
    this.#step();
    if (this.#isMark('=') || this.#isMark(':')) {
      this.#step();
      return { key, place, value: this.#value(depth) };
    }
    if (this.#isMark('{')) return { key, place, value: this.#counted(() => this.#object(this.#deeper(depth))) };
    if (this.#token.kind !== 'string' && this.#token.kind !== 'name') throw this.#unexpected('"=" or "{"');
    const inner = this.#entry(this.#deeper(depth));
    if (inner.value.kind !== 'object') throw syntaxFault(this.#name, inner.place, 'a label must be followed by "{"');
    return { key, place, value: { kind: 'object', entries: [inner], place: inner.place } };
  }

  #value(depth: number): HclValue {
    const { kind, text, place } = this.#token;
    if (this.#isMark('{')) return this.#counted(() => this.#object(this.#deeper(depth)));
    if (this.#isMark('[')) return this.#counted(() => this.#list(this.#deeper(depth)));
    if (kind === 'string') return this.#scalar(text, place);
    if (kind === 'number') return this.#scalar(this.#number(text), place);
    if (kind === 'name' && (text === 'true' || text === 'false')) return this.#scalar(text === 'true', place);
    throw this.#unexpected('a value: text in quotes, a number, true, false, a list or an object');
  }

  #number(text: string): number {
    const number = numberOf(text);
    if (number !== undefined) return number;
    throw syntaxFault(this.#name, this.#token.place, `${text} is no number that can be held`);
  }

  #scalar(value: string | number | boolean, place: Place): HclValue {
    return this.#counted(() => {
      this.#step();
      return { kind: 'scalar', value, place };
    });
  }

  #list(depth: number): HclValue {
    const { place } = this.#token;
    const items: HclValue[] = [];
    this.#step();
    while (!this.#isMark(']')) {
      items.push(this.#value(depth));
      if (this.#isMark(',')) this.#step();
      else if (!this.#isMark(']')) throw this.#unexpected('"," or "]"');
    }
    this.#step();
    return { kind: 'list', items, place };
  }

  #counted<T>(work: () => T): T {
    this.#values += 1;
    if (this.#values > MAX_VALUES)
      throw syntaxFault(this.#name, this.#token.place, `there are over ${MAX_VALUES} values`);
    return work();
  }

  #deeper(depth: number): number {
    if (depth < MAX_DEPTH) return depth + 1;
    throw syntaxFault(this.#name, this.#token.place, `values are nested deeper than ${MAX_DEPTH}`);
  }

  #isMark(text: string): boolean {
    return this.#token.kind === 'mark' && this.#token.text === text;
  }

  #step(): void {
    this.#token = this.#tokens.next();
  }

  #unexpected(wanted: string) {
    const { kind, text, place } = this.#token;
    const seen = kind === 'end' ? 'the text ends' : `${JSON.stringify(text.slice(0, 40))} stands`;
    return syntaxFault(this.#name, place, `${seen} where ${wanted} should be`);
  }
}
