import { LacreError } from '../lacre-error.ts';

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
const BLANK = /(?:[ \t\r\n\uFEFF]|#[^\n]*|\/\/[^\n]*)+/y;
const HEREDOC = /<<(-?)([\p{L}\p{Nd}_]{1,64})\r?\n/uy;
const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
};
const CODED = /^(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))/;

/** A syntax fault, with its place. */
export function syntaxFault(name: string, { line, column }: Place, message: string): LacreError {
  return new LacreError('spire.config.invalid', `${name}:${line}:${column}: ${message}`, { file: name, line, column });
}

/** The tokens of an HCL 1 or JSON text, one after another. Codes of `next`: spire.config.invalid. */
export class Tokens {
  readonly #name: string;
  readonly #text: string;
  #at = 0;
  #line = 1;
  #lineStart = 0;

  /** @param name of the text, for messages */
  constructor(name: string, text: string) {
    this.#name = name;
    this.#text = text;
  }

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
      const start = this.#at;
      this.#take(BLANK);
      if (this.#text.startsWith('/*', this.#at)) {
        const end = this.#text.indexOf('*/', this.#at + 2);
        if (end < 0) throw this.#fault(this.#place(), 'a comment is not closed');
        this.#advance(end + 2);
      }
      if (this.#at === start) return;
    }
  }

  #take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#advance(pattern.lastIndex);
    return match;
  }

  /** HCL 1: escapes as in Go; what stands in ${…} is taken as it is, quotes and all. */
  #string(start: Place): string {
    let value = '';
    let depth = 0;
    this.#at += 1;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || (char === '\n' && depth === 0)) throw this.#fault(start, 'a string is not closed');
      if (depth === 0 && char === '"') break;
      if (depth === 0 && char === '\\') {
        value += this.#escape();
        continue;
      }
      if (char === '$' && this.#text[this.#at + 1] === '{') {
        depth += 1;
        value += char;
        this.#at += 1;
      } else if (depth > 0 && char === '{') depth += 1;
      else if (depth > 0 && char === '}') depth -= 1;
      value += this.#text[this.#at];
      this.#advance(this.#at + 1);
    }
    this.#at += 1;
    return value;
  }

  #escape(): string {
    const place = this.#place();
    const rest = this.#text.slice(this.#at + 1, this.#at + 10);
    const plain = ESCAPES[rest[0] ?? ''];
    if (plain !== undefined) {
      this.#at += 2;
      return plain;
    }
    const [match, byte, short, long, octal] = CODED.exec(rest) ?? [];
    const code = Number.parseInt(byte ?? short ?? long ?? octal ?? '', octal === undefined ? 16 : 8);
    if (match === undefined || code > 0x10ffff) throw this.#fault(place, 'an escape in a string is unknown');
    this.#at += 1 + match.length;
    return String.fromCodePoint(code);
  }

  #heredoc([, dash, mark = '']: RegExpExecArray, start: Place): string {
    const lines: string[] = [];
    for (;;) {
      const end = this.#text.indexOf('\n', this.#at);
      const line = this.#text.slice(this.#at, end < 0 ? undefined : end);
      if (line.trim() === mark) {
        this.#advance(this.#at + line.length);
        break;
      }
      if (end < 0) throw this.#fault(start, `a text that begins with <<${mark} is not closed by it`);
      lines.push(line);
      this.#advance(end + 1);
    }
    const indent = dash === '' ? 0 : Math.min(...lines.map((line) => line.length - line.trimStart().length));
    return lines.map((line) => `${line.slice(indent)}\n`).join('');
  }

  #advance(to: number): void {
    for (let at = this.#text.indexOf('\n', this.#at); at >= 0 && at < to; at = this.#text.indexOf('\n', at + 1)) {
      this.#line += 1;
      this.#lineStart = at + 1;
    }
    this.#at = to;
  }

  #place(): Place {
    return { line: this.#line, column: this.#at - this.#lineStart + 1 };
  }

  #fault(place: Place, message: string): LacreError {
    return syntaxFault(this.#name, place, message);
  }
}
