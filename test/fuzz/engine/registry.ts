import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FuzzTarget } from './target.ts';

const folder = join(import.meta.dirname, '..');
const root = join(folder, '../..');

/** Names of the targets: the files of `test/fuzz`. */
export function targetNames(): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => name.slice(0, -3))
    .sort();
}

/** Loads a target, and with it what it runs. */
export async function loadTarget(name: string): Promise<FuzzTarget> {
  const { target } = (await import(`../${name}.ts`)) as { target: FuzzTarget };
  return { ...target, words: [...(target.words ?? []), ...wordsOf(target.parsers)] };
}

/** What the source of parsers compares with: its short texts and its hexadecimal numbers, in both byte orders. */
function wordsOf(parsers: readonly string[]): (string | Uint8Array)[] {
  const paths = new Set(parsers.map((parser) => parser.split('#')[0] ?? ''));
  const words = [...paths].flatMap((path) => {
    const text = readFileSync(join(root, path), 'utf8');
    const texts = [...text.matchAll(/'([^'\\\n ]{2,24})'/g)].map((match) => match[1] ?? '');
    const numbers = [...text.matchAll(/\b0x((?:[0-9a-f]{2}){1,4})\b/g)].map((match) =>
      Buffer.from(match[1] ?? '', 'hex'),
    );
    return [
      ...texts.filter((one) => !one.startsWith('.')),
      ...numbers,
      ...numbers.map((one) => Buffer.from(one).reverse()),
    ];
  });
  return words.slice(0, 200);
}

/** A line that begins an exported function or a method, and is no call. */
const PARSER =
  /^(?:export (?:async )?function\*? ?| {2}(?:static |async )*\*?)((?:parse|decode|read)\w*)\s*[(<](?!.*\);$)/gm;

/** Everything in `src` that is called parse…, decode… or read… and can be called from outside, as `path#name`. */
export function parsersOf(): string[] {
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !/\.test\.ts$|_pb\.ts$|-fixture\.ts$|-bed\.ts$/.test(name))
    .flatMap((name) => {
      const text = readFileSync(join(root, 'src', name), 'utf8');
      return [...text.matchAll(PARSER)].map((match) => `src/${name}#${match[1]}`);
    });
}

/** Whether `path#name` is a function or method there. */
export function exists(parser: string): boolean {
  const [path = '', name = ''] = parser.split('#');
  try {
    return new RegExp(`\\b(?:function\\*? |async |static )?${name}\\s*[(<]`).test(
      readFileSync(join(root, path), 'utf8'),
    );
  } catch {
    return false;
  }
}
