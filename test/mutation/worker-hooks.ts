/** Loaded before a worker's own module: gives the mutated sources in place of the files, and the collector as node:test. */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { SWITCH } from './instrument.ts';
import { mutation } from './switch.ts';
import type { Manifest } from './worker-messages.ts';

const manifest: Manifest = JSON.parse(readFileSync(process.env['LACRE_MUTATION_MANIFEST'] ?? '', 'utf8'));
mutation.active = Number(process.env['LACRE_MUTATION_ACTIVE'] ?? 0);
Object.defineProperty(globalThis, SWITCH, {
  configurable: true,
  value: (id: number) => {
    mutation.reached[id] = 1;
    return id === mutation.active;
  },
});
mutation.reached = new Uint8Array(manifest.count + 1);
const sources = new Map(Object.entries(manifest.sources));
const collector = new URL('./collector.ts', import.meta.url).href;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'node:test' ? { url: collector, shortCircuit: true } : next(specifier, context),
  load: (url, context, next) => {
    const path = sources.get(url);
    if (path === undefined) return next(url, context);
    return { format: 'module', source: readFileSync(path, 'utf8'), shortCircuit: true };
  },
});
