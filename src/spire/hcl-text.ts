/** What one escape stands for, and how many characters it takes, backslash among them. */
export interface Escape {
  readonly value: string;
  readonly length: number;
}

const PLAIN: ReadonlyMap<string, string> = new Map([
  ['a', '\x07'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
  ['\\', '\\'],
  ['"', '"'],
]);
/** By hexadecimal digits a code point, by two of them or three octal ones a byte. */
const CODED = /^(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-7]{3}))/;
const LONGEST = 10;

/**
 * The escape that begins at a backslash, as in Go; undefined: there is none of that kind. A byte beyond ASCII is refused:
 * by itself it is no text.
 */
export function escapeAt(text: string, at: number): Escape | undefined {
  const rest = text.slice(at + 1, at + LONGEST);
  const plain = PLAIN.get(rest[0] ?? '');
  if (plain !== undefined) return { value: plain, length: 2 };
  const [match, short, long, byte, octal] = CODED.exec(rest) ?? [];
  if (match === undefined) return undefined;
  const code = octal === undefined ? Number.parseInt(short ?? long ?? byte ?? '', 16) : Number.parseInt(octal, 8);
  const isByte = short === undefined && long === undefined;
  if (code > (isByte ? 0x7f : 0x10ffff)) return undefined;
  return { value: String.fromCodePoint(code), length: 1 + match.length };
}

/** Lines of a here-document as `<<-` has it: without its last line's indent, where every line begins with that. */
export function unindented(lines: readonly string[], indent: string): readonly string[] {
  if (!lines.every((line) => line.startsWith(indent))) return lines;
  return lines.map((line) => line.slice(indent.length));
}

/** Of a number's text: sign, then hexadecimal by `0x`, octal by a zero in front, else decimal. Undefined: none. */
export function numberOf(text: string): number | undefined {
  const digits = text.replace(/^-/, '');
  const isOctal = /^0\d+$/.test(digits);
  if (isOctal && !/^[0-7]+$/.test(digits)) return undefined;
  const value = isOctal ? Number.parseInt(digits, 8) : Number(digits);
  if (!Number.isFinite(value)) return undefined;
  return text.startsWith('-') && value !== 0 ? -value : value;
}
