import { relative } from 'node:path';
import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

/** Tests that fail; then lines, branches and functions that no test reaches: a line for each file that has some. */
export default async function* coverageReporter(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    if (type === 'test:fail') yield `failed: ${data.file}: ${data.name}\n${inspect(data.details.error)}\n`;
    if (type !== 'test:coverage') continue;
    const { files, totals, workingDirectory } = data.summary;
    for (const file of files) {
      const missing = [
        list(
          'lines',
          file.lines.filter(({ count }) => count === 0).map(({ line }) => line),
        ),
        list(
          'branches at lines',
          file.branches.filter(({ count }) => count === 0).map(({ line }) => line),
        ),
        list(
          'functions at lines',
          file.functions.filter(({ count }) => count === 0).map(({ line }) => line),
        ),
      ].filter((text) => text !== '');
      if (missing.length > 0) yield `not covered: ${relative(workingDirectory, file.path)}: ${missing.join('; ')}\n`;
    }
    const parts = [
      `${totals.coveredLineCount} of ${totals.totalLineCount} lines`,
      `${totals.coveredBranchCount} of ${totals.totalBranchCount} branches`,
      `${totals.coveredFunctionCount} of ${totals.totalFunctionCount} functions`,
    ];
    yield `\ncovered: ${parts.join(', ')} of ${files.length} files\n`;
  }
}

function list(what: string, lines: readonly number[]): string {
  return lines.length === 0 ? '' : `${what} ${[...new Set(lines)].join(', ')}`;
}
