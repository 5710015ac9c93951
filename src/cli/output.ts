import { stripVTControlCharacters, styleText } from 'node:util';

export type OutputFormat = 'text' | 'json';

type Style = Parameters<typeof styleText>[0];

/** Writes results to stdout and everything else to stderr. Colour only on a terminal and without NO_COLOR. */
export class Output {
  readonly format: OutputFormat;

  constructor(format: OutputFormat) {
    this.format = format;
  }

  /** One JSON document, or the text that `text` makes: never both. */
  result(value: unknown, text: () => string): void {
    const body = this.format === 'json' ? JSON.stringify(value, jsonValue, 2) : text();
    if (body !== '') process.stdout.write(`${body}\n`);
  }

  note(text: string): void {
    process.stderr.write(`${text}\n`);
  }
}

/** Text in a style, plain where stdout takes no colour. */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

/** Attacker-made text (paths, names) for a terminal: control and direction characters are shown, not obeyed. */
export function safeText(text: string): string {
  return text.replace(/\p{Cc}|\p{Cf}|\p{Zl}|\p{Zp}/gu, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}

/** Rows in aligned columns below a header. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => visibleLength(row[column] ?? ''))),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        column === header.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - visibleLength(cell)),
      )
      .join('  ')
      .trimEnd();
  return [paint('bold', line(header)), ...rows.map(line)].join('\n');
}

/** "12 s ago" for a point in time given in milliseconds since 1970; "never" for 0. */
export function ago(unixMs: bigint, now: Date = new Date()): string {
  if (unixMs === 0n) return 'never';
  return `${Math.max(0, Math.round((now.getTime() - Number(unixMs)) / 1000))} s ago`;
}

function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length;
}

function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return value;
}
