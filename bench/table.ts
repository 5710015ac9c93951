import { metText, type Results, rowsOf } from './results.ts';

const HEAD = ['measure', 'to reach', 'seen', 'command', 'met?'];

/** The table for the terminal, as Markdown: docs/performance.md takes it as it is. */
export function tableText(results: Pick<Results, 'measures' | 'quick'>): string {
  const rows = rowsOf(results).map((row) => [row.measure, row.goal, row.seen, `\`${row.command}\``, metText(row)]);
  const widths = HEAD.map((head, column) => Math.max(head.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  return [line(HEAD), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
