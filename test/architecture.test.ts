import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LAYERS, type Layer, PURE_NODE_MODULES } from '../src/layers.ts';

const src = join(dirname(dirname(fileURLToPath(import.meta.url))), 'src');

interface SourceFile {
  readonly path: string;
  /** First folder below src; empty for files of src itself. */
  readonly layer: string;
  readonly imports: readonly string[];
  readonly isTest: boolean;
}

function sourceFiles(): SourceFile[] {
  return readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => {
      const text = readFileSync(join(src, name), 'utf8');
      const imports = [
        ...text.matchAll(
          /^\s*(?:import|export)\b[^'"`;]*?from\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)|^import '([^']+)'/gm,
        ),
      ];
      return {
        path: name,
        layer: name.includes(sep) ? (name.split(sep)[0] ?? '') : '',
        imports: imports.map((match) => match[1] ?? match[2] ?? match[3] ?? ''),
        isTest: name.endsWith('.test.ts'),
      };
    });
}

const files = sourceFiles();
const order = new Map(LAYERS.map((layer, index) => [layer.name, index]));

function layerNamed(name: string): Layer {
  const layer = LAYERS.find((candidate) => candidate.name === name);
  assert.ok(layer, `${name} is no layer`);
  return layer;
}

/** The layer that a relative import leads to; undefined for packages and node: modules. */
function target(file: SourceFile, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  const path = relative(src, resolve(dirname(join(src, file.path)), specifier));
  return path.includes(sep) ? path.split(sep)[0] : '';
}

function mayImport(from: Layer, to: Layer): boolean {
  if (from.name === to.name) return true;
  if (to.kind === 'program') return from.kind === 'program' && (from.uses ?? []).includes(to.name);
  return (order.get(to.name) ?? 0) < (order.get(from.name) ?? 0);
}

test('every folder below src is a layer, and every layer is there', () => {
  const folders = readdirSync(src).filter((name) => statSync(join(src, name)).isDirectory());
  assert.deepEqual(folders.sort(), LAYERS.map((layer) => layer.name).sort());
});

test('imports point one way along the chain', () => {
  const wrong: string[] = [];
  for (const file of files.filter((f) => f.layer !== '' && !f.isTest)) {
    for (const specifier of file.imports) {
      const to = target(file, specifier);
      if (to !== undefined && to !== '' && to !== '..' && !mayImport(layerNamed(file.layer), layerNamed(to)))
        wrong.push(`${file.path} imports ${specifier}`);
      if (to === '..') wrong.push(`${file.path} leaves src: ${specifier}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('a link computes and does no I/O', () => {
  const pure = new Set(LAYERS.filter((layer) => layer.kind === 'link').map((layer) => layer.name));
  const wrong = files
    .filter((file) => pure.has(file.layer) && !file.isTest)
    .flatMap((file) =>
      file.imports
        .filter((i) => i.startsWith('node:') && !PURE_NODE_MODULES.includes(i))
        .map((i) => `${file.path} imports ${i}`),
    );
  assert.deepEqual(wrong, []);
  const clocks = files
    .filter((file) => pure.has(file.layer) && !file.isTest)
    .filter((file) =>
      /\bDate\.now\(|new Date\(\)|Math\.random\(|\brandomBytes\(/.test(
        readFileSync(join(src, file.path), 'utf8').replace(/^\s*(\/\/|\*|\/\*).*$/gm, ''),
      ),
    )
    .map((file) => file.path);
  assert.deepEqual(clocks, [], 'time and randomness come in as arguments');
});

test('folders are two deep at most, have names that mean something, and files are in kebab-case', () => {
  const own = files.filter((file) => file.layer !== 'proto');
  assert.deepEqual(
    own.filter((file) => file.path.split(sep).length > 3).map((file) => file.path),
    [],
  );
  assert.deepEqual(
    own.filter((file) =>
      file.path.split(sep).some((part) => ['utils', 'util', 'common', 'helpers', 'lib', 'types'].includes(part)),
    ),
    [],
  );
  const names = own.map((file) => file.path.split(sep).at(-1) ?? '');
  assert.deepEqual(
    names.filter((name) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.test)?\.ts$/.test(name)),
    [],
  );
});

test('each link says on one page what is claimed on entry and what is proven on exit', () => {
  for (const layer of LAYERS.filter((candidate) => candidate.kind === 'link')) {
    const page = join(src, layer.name, 'README.md');
    assert.ok(existsSync(page), `src/${layer.name}/README.md is missing`);
    assert.ok(
      readFileSync(page, 'utf8').split('\n').length <= 41,
      `src/${layer.name}/README.md is longer than 40 lines`,
    );
  }
});

test('the step that measures coverage knows every link', () => {
  const bootstrap = readFileSync(join(dirname(src), 'scripts/bootstrap.mjs'), 'utf8');
  const names = /^const LINKS = \[(.*)\];$/m.exec(bootstrap)?.[1]?.match(/\w+/g);
  assert.deepEqual(
    names,
    LAYERS.filter((layer) => layer.kind === 'link').map((layer) => layer.name),
  );
});

test('no default exports and no barrels', () => {
  const wrong = files
    .filter((file) => file.layer !== 'proto')
    .filter((file) => /^export default\b|^export \* from/m.test(readFileSync(join(src, file.path), 'utf8')))
    .map((file) => file.path);
  assert.deepEqual(wrong, []);
});
