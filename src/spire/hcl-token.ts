import { LacreError } from '../lacre-error.ts';
import { escapeAt, unindented } from './hcl-text.ts';

/** Line and column from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface Token {
  readonly kind: 'name' | 'string' | 'number' | 'mark' | 'end';
  /** Of strings without quotes and escapes; of marks the one character. */
  readonly text: string;
  readonly place: Place;
}

const MARKS = '{}[]=:,';
const NAME = /[\p{L}_][\p{L}\p{Nd}_.-]*/uy;
const NUMBER = /-?(?:0[xX][0-9a-fA-F]{1,16}|\d{1,20}(?:\.\d{1,20})?(?:[eE][+-]?\d{1,4})?)/y;
/** One piece at a time: a repeated group would keep a place to go back to for each character. */
const BLANK = /[ \t\r\n]+|#[^\n]*|\/\/[^\n]*/y;
const HEREDOC = /<<(-?)([\p{L}\p{Nd}_]{1,64})\r?\n/uy;
const BYTE_ORDER_MARK = '\uFEFF';

/** A syntax fault, with its place. */
export function syntaxFault(name: string, { line, column }: Place, message: string): LacreError {
  return new LacreError('spire.config.invalid', `${name}:${line}:${column}: ${message}`, { file: name, line, column });
}

/** The tokens of an HCL 1 or JSON text, one after another, in time linear in its length. Codes: spire.config.invalid. */
export class Tokens {
  readonly #name: string;
  readonly #text: string;
  #at = 0;
  #line = 1;
  #lineStart = 0;
  /** Where the line ends that #line counts: each newline is looked for once. */
  #lineEnd: number;

  /** @param name of the text, for messages */
  constructor(name: string, text: string) {
    this.#name = name;
    this.#text = text;
    this.#lineEnd = this.#newlineFrom(0);
    if (text.startsWith(BYTE_ORDER_MARK)) this.#at = 1;
    const odd = text.search(/[\0\p{Cs}]/u);
    if (odd < 0) return;
    this.#at = odd;
    throw this.#fault(this.#place(), 'a zero byte, or half of a character, stands in the text');
  }

  /** Codes: spire.config.invalid. */
  next(): Token {
    this.#skipBlank();
    const place = this.#place();
    const char = this.#text[this.#at];
    if (char === undefined) return { kind: 'end', text: '', place };
    if (char === '"') return { kind: 'string', text: this.#string(place), place };
    if (MARKS.includes(char)) {
      this.#at += 1;
      return { kind: 'mark', text: char, place };
    }
    const heredoc = this.#take(HEREDOC);
    if (heredoc !== undefined) return { kind: 'string', text: this.#heredoc(heredoc, place), place };
    const name = this.#take(NAME)?.[0];
    if (name !== undefined) return { kind: 'name', text: name, place };
    const number = this.#take(NUMBER)?.[0];
    if (number !== undefined) return { kind: 'number', text: number, place };
    throw this.#fault(place, `${JSON.stringify(char)} has no meaning here`);
  }

  #skipBlank(): void {
    for (;;) {
      if (this.#take(BLANK) !== undefined) continue;
      if (!this.#text.startsWith('/*', this.#at)) return;
      const end = this.#text.indexOf('*/', this.#at + 2);
      if (end < 0) throw this.#fault(this.#place(), 'a comment is not closed');
      this.#at = end + 2;
    }
  }

  #take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#at = pattern.lastIndex;
    return match;
  }

  /** HCL 1: escapes as in Go; what stands in ${…} is taken as it is, quotes and all. */
  #string(start: Place): string {
    const text = this.#text;
    const parts: string[] = [];
    let depth = 0;
    this.#at += 1;
    let from = this.#at;
    for (;;) {
      const char = text[this.#at];
      if (char === undefined || (char === '\n' && depth === 0)) throw this.#fault(start, 'a string is not closed');
      if (char === '"' && depth === 0) break;
      if (char === '\\' && depth === 0) {
        const code = escapeAt(text, this.#at);
        if (code === undefined) throw this.#fault(this.#place(), 'an escape in a string is unknown');
        parts.push(text.slice(from, this.#at), code.value);
        this.#at += code.length;
        from = this.#at;
        continue;
      }
      if (char === '{' && (depth > 0 || text[this.#at - 1] === '$')) depth += 1;
      else if (char === '}' && depth > 0) depth -= 1;
      this.#at += 1;
    }
    const value = parts.join('') + text.slice(from, this.#at);
    this.#at += 1;
    if (!value.isWellFormed() || value.includes('\0'))
      throw this.#fault(start, 'a string has a zero byte, or half of a character');
    return value;
  }

  /** Its last line is the mark, with an indent before it. */
  #heredoc([, dash, mark = '']: RegExpExecArray, start: Place): string {
    const lines: string[] = [];
    for (;;) {
      const end = this.#newlineFrom(this.#at);
      const line = this.#text.slice(this.#at, end);
      this.#at = Math.min(end + 1, this.#text.length);
      const last = line.trimStart();
      if (last === mark || last === `${mark}\r`) {
        const indent = line.slice(0, line.length - last.length);
        return (dash === '' ? lines : unindented(lines, indent)).map((one) => `${one}\n`).join('');
      }
      if (end >= this.#text.length) throw this.#fault(start, `a text that begins with <<${mark} is not closed by it`);
      lines.push(line);
    }
  }

  #newlineFrom(at: number): number {
    const found = this.#text.indexOf('\n', at);
    return found < 0 ? this.#text.length : found;
  }

  #place(): Place {
    while (this.#lineEnd < this.#at) {
      this.#line += 1;
      this.#lineStart = this.#lineEnd + 1;
      this.#lineEnd = this.#newlineFrom(this.#lineStart);
    }
    return { line: this.#line, column: this.#at - this.#lineStart + 1 };
  }

  #fault(place: Place, message: string): LacreError {
    return syntaxFault(this.#name, place, message);
  }
}
